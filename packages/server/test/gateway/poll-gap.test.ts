import { afterAll, beforeAll, expect, it } from 'vitest';
import { type DiskLog, openDiskLog } from '../../src/log/index.ts';
import { type ApiServer, startApi } from '../api/api-server.ts';
import { message } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';

let log: DiskLog;
let server: ApiServer;

async function append(topic: string, count: number, bytes = 100): Promise<void> {
  for (let i = 0; i < count; i++) await log.append([message(topic, `"${'x'.repeat(bytes)}"`)], 'written');
}

/** What a rule dropped lies some answers of a poll behind the beginning. */
beforeAll(async () => {
  log = await openDiskLog({
    directory: temporaryDirectory(),
    hotBytes: 1,
    segmentBytes: 64 * 1024,
    dedupe: { ids: 0, ageMs: 0 },
    keep: { rules: [{ filter: 't/n', last: 2 }] },
  });
  await append('t/m', 600, 2000);
  await append('t/n', 20);
  await append('other', 1000);
  await log.compact();
  server = await startApi({ log });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await log.close();
});

it('a gap that lies some answers ahead is told once to who polls', async () => {
  const offsets: number[] = [];
  const notices: object[] = [];
  let polls = 0;
  for (let where = 'from=earliest', more = true; more; polls++) {
    const response = await fetch(`${server.url}/v1/poll?filter=t/%2B&wait=0&${where}`);
    const answer = (await response.json()) as {
      messages: { offset: number }[];
      cursor: string;
      more: boolean;
      notices: object[];
    };
    offsets.push(...answer.messages.map(({ offset }) => offset));
    notices.push(...answer.notices);
    where = `cursor=${answer.cursor}`;
    ({ more } = answer);
  }
  expect(polls).toBeGreaterThan(3);
  expect(offsets).toEqual([...Array.from({ length: 600 }, (_, i) => i + 1), 619, 620]);
  expect(notices).toMatchObject([{ type: 'gap', reason: 'trimmed' }]);
});

it('and over POST, where the chain of cursors holds', async () => {
  let gaps = 0;
  for (let at = '', live = false; !live; ) {
    const where = at === '' ? { from: 'earliest' } : { cursor: at };
    const response = await fetch(`${server.url}/v1/poll?wait=0`, {
      method: 'POST',
      body: JSON.stringify({ subscribe: [{ filter: 't/+', sub: 's', ...where }] }),
    });
    const { frames } = (await response.json()) as { frames: { type: string; after?: string; cursor: string }[] };
    if (at !== '') expect(frames[0]).toMatchObject({ type: 'subscribed', cursor: at });
    for (const frame of frames) {
      if (frame.after !== undefined) expect(frame.after).toBe(at);
      at = frame.cursor;
      if (frame.type === 'gap') gaps++;
      if (frame.type === 'live') live = true;
    }
  }
  expect(gaps).toBe(1);
});
