import { expect, it } from 'vitest';
import type { Disk } from '../../src/log/disk/files/disk.ts';
import { nodeDisk } from '../../src/log/disk/files/node-disk.ts';
import { openDiskLog } from '../../src/log/index.ts';
import { message } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { startApi } from './api-server.ts';

it('a replay gives its first byte after 5 s although the disk answers nothing, and the rest when it does (D2)', async () => {
  let wake = (): void => {};
  let held: Promise<void> | undefined;
  const disk: Disk = {
    ...nodeDisk,
    async open(path, mode) {
      const file = await nodeDisk.open(path, mode);
      return {
        read: (...of) => (held ?? Promise.resolve()).then(() => file.read(...of)),
        write: (...of) => file.write(...of),
        sync: () => file.sync(),
        truncate: length => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
  const log = await openDiskLog({ directory: temporaryDirectory(), hotBytes: 1, disk });
  await using server = await startApi({ log });
  for (const data of ['1', '2', '3']) await log.append([message('a', data)], 'fsync');
  held = new Promise(resolve => (wake = resolve));
  const began = performance.now();
  const answer = await fetch(`${server.url}/v1/log?filter=a&from=earliest`);
  expect(answer.status).toBe(200);
  expect(performance.now() - began).toBeGreaterThan(4900);
  held = undefined;
  wake();
  expect((await answer.text()).trim().split('\n')).toHaveLength(4);
});
