import { filterSet } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import type { LogRecord } from '../../../src/log/index.ts';
import { openDiskLog } from '../../../src/log/index.ts';
import { message } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

/** Bytes of memory that the payloads keep: of all the buffers that they are views of. */
function kept(records: readonly LogRecord[]): number {
  let bytes = 0;
  for (const buffer of new Set(records.map(record => record.data.buffer))) bytes += buffer.byteLength;
  return bytes;
}

test('what is read keeps about as much memory as it weighs, however far apart it lies', async () => {
  const log = await openDiskLog({ directory: temporaryDirectory(), hotBytes: 1 });
  const payload = 'x'.repeat(1000);
  const rare: number[] = [];
  for (let i = 0; i < 20_000; i += 100) {
    const topics = Array.from({ length: 100 }, (_, k) => ((i + k) % 150 === 7 ? 'rare/a' : 'often/a'));
    topics.forEach((topic, k) => {
      if (topic === 'rare/a') rare.push(i + k + 1);
    });
    await log.append(
      topics.map(topic => message(topic, topic === 'rare/a' ? '1' : payload)),
      'written',
    );
  }
  const offsets = (records: readonly LogRecord[]): number[] => records.map(record => record.offset);
  for (const filter of ['rare/+', 'rare/a']) {
    const { records } = await log.read(0, log.head.offset, filterSet([filter]), 64 * 1024);
    expect(offsets(records)).toEqual(rare);
    expect(records.every(({ data }) => Buffer.from(data).toString() === '1')).toBe(true);
    expect(kept(records), filter).toBeLessThan(1024 * 1024); // of 22 MB that were looked at
  }
  const single = await log.recordsAt(Float64Array.from(rare), 64 * 1024);
  expect(offsets(single)).toEqual(rare);
  expect(kept(single)).toBeLessThan(300_000);
  const dense = await log.read(0, log.head.offset, filterSet(['often/+']), 64 * 1024);
  expect(kept(dense.records)).toBeLessThan(300_000);
  await log.close();
});
