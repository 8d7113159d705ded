import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../../src/log/disk/disk.ts';
import { nodeDisk } from '../../../src/log/disk/node-disk.ts';
import { openDiskLog, verify } from '../../../src/log/index.ts';
import { message, readAllOf } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { textOf } from './prepared-log.ts';

/** The real disk, whose owner learns that it was replaced only after `late` more looks. */
class SlowOwner {
  late = 0;
  readonly disk: Disk = {
    ...nodeDisk,
    own: async directory => {
      const real = await nodeDisk.own(directory);
      return { ...real, lost: () => real.lost() && this.late-- <= 0 };
    },
  };
}

const options = { segmentBytes: 16384, hotBytes: 1 };

describe('an owner that was replaced and does not know it yet', () => {
  test.each([
    ['a batch that it was about to write', 100],
    ['a segment that it was about to begin', 16_300],
  ])('does no harm by %s', async (_, bytes) => {
    const directory = temporaryDirectory();
    const slow = new SlowOwner();
    const first = await openDiskLog({ directory, disk: slow.disk, ...options });
    for (const data of ['1', '2', '3']) await first.append([message('a', data)], 'fsync');
    // a file system where the new owner cannot reach the socket of the old one
    fs.rmSync(path.join(directory, 'owner.sock'));
    const second = await openDiskLog({ directory, ...options });
    await second.append([message('a', '4')], 'fsync');

    // it has just looked, and does what it was about to do
    slow.late = 1;
    const lost = Array.from({ length: 3 }, (_, i) => first.append([message('a', `lost ${i}`.padEnd(bytes))], 'fsync'));
    for (const append of lost) await expect(append).rejects.toMatchObject({ code: 'outcome_unknown' });
    expect(first.status.state).toBe('fenced');
    await first.close();

    // more than one segment, so that the new owner needs the file it has prepared
    const data = ['1', '2', '3', '4', ...Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(1000))];
    for (const text of data.slice(4)) await second.append([message('a', text)], 'fsync');
    expect((await readAllOf(second, ['a'])).map(textOf)).toEqual(data);
    await second.close();
    const third = await openDiskLog({ directory, ...options });
    expect((await readAllOf(third, ['a'])).map(textOf)).toEqual(data);
    await third.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('removes nothing by retention', async () => {
    const directory = temporaryDirectory();
    const first = await openDiskLog({ directory, ...options });
    const text = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(1000));
    for (const data of text) await first.append([message('a', data)], 'fsync');
    fs.rmSync(path.join(directory, 'owner.sock'));
    const second = await openDiskLog({ directory, ...options });
    await expect(first.trim(first.head.offset)).rejects.toThrow('another process has taken over');
    await first.close();
    expect((await readAllOf(second, ['a'])).map(textOf)).toEqual(text);
    await second.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('cuts nothing by a recovery that it had begun', async () => {
    const directory = temporaryDirectory();
    const before = await openDiskLog({ directory, ...options });
    for (const data of ['1', '2', '3']) await before.append([message('a', data)], 'fsync');
    const copy = temporaryDirectory();
    fs.cpSync(directory, copy, { recursive: true, filter: file => !file.endsWith('.sock') });
    await before.close();
    // what a crash leaves: bytes behind the last frame, to be cut at the next start
    const segment = path.join(
      copy,
      fs
        .readdirSync(copy)
        .filter(name => name.endsWith('.log'))
        .sort()
        .at(-1)!,
    );
    const bytes = fs.readFileSync(segment);
    const replaced: Disk = {
      ...nodeDisk,
      own: async directory => ({ ...(await nodeDisk.own(directory)), lost: () => true }),
    };
    await expect(openDiskLog({ directory: copy, disk: replaced, ...options })).rejects.toThrow(
      'another process has taken over',
    );
    expect(fs.readFileSync(segment)).toEqual(bytes);
  });
});
