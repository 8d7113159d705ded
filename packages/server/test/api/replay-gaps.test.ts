import { afterAll, beforeAll, expect, it } from 'vitest';
import { type DiskLog, openDiskLog } from '../../src/log/index.ts';
import { message } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { type ApiServer, startApi } from './api-server.ts';

let log: DiskLog;
let server: ApiServer;

async function append(topic: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await log.append([message(topic, `"${'x'.repeat(100)}"`)], 'written');
}

/** Records 1 to 20 are whole; of those from 121 on a rule has dropped all but the newest two, 139 and 140. */
beforeAll(async () => {
  log = await openDiskLog({
    directory: temporaryDirectory(),
    hotBytes: 1,
    segmentBytes: 2048,
    dedupe: { ids: 0, ageMs: 0 },
    keep: { rules: [{ filter: 't/n', last: 2 }] },
  });
  await append('t/m', 20);
  await append('other', 100);
  await append('t/n', 20);
  await append('other', 100);
  await append('t/m', 20);
  await append('other', 50);
  await log.compact();
  server = await startApi({ log });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await log.close();
});

it.each([
  ['all of it', '', 42, true],
  ['a part before what a rule dropped', '&to=@20', 20, false],
  ['a part that ends in the middle of it', '&to=@139', 21, true],
  ['a part behind it', '&from=@139', 22, false],
  ['the first few', '&limit=5', 5, false],
  ['more than come before it', '&limit=21', 21, true],
  ['the newest few', '&order=newest&limit=10', 10, false],
  ['the newest down to it', '&order=newest&limit=22', 22, false],
  ['so many of the newest that it lies between', '&order=newest&limit=23', 23, true],
  ['the newest of a part before it', '&order=newest&to=@20&limit=50', 20, false],
  ['all of it, newest first', '&order=newest&limit=50', 42, true],
  ['of another topic', '&filter=other&limit=1', 1, false],
])('a replay of %s is told a gap only if it lies there', async (_, query, count, gap) => {
  const filter = query.includes('filter=') ? '' : 'filter=t/%2B';
  const text = await (await fetch(`${server.url}/v1/log?${filter}${query}`.replace('?&', '?'))).text();
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { done?: true; gap?: object });
  const last = lines.pop()!;
  expect(last.done).toBe(true);
  expect(lines).toHaveLength(count);
  expect(last.gap !== undefined).toBe(gap);
});
