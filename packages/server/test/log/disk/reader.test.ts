import { filterSet } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import type { LogRecord } from '../../../src/log/index.ts';
import { type Disk, openDiskLog } from '../../../src/log/index.ts';
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

/** The real disk; `onRead` hears how many bytes of segments are read. */
function countingDisk(onRead: (bytes: number) => void): Disk {
  return {
    ...nodeDisk,
    async open(path, mode) {
      const file = await nodeDisk.open(path, mode);
      if (!path.endsWith('.log')) return file;
      return {
        read: async (buffer, start, length, position) => {
          const got = await file.read(buffer, start, length, position);
          onRead(got);
          return got;
        },
        write: (buffer, start, length, position) => file.write(buffer, start, length, position),
        sync: () => file.sync(),
        truncate: length => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
}

test('one topic out of many is read with at most as many bytes again, and long records among short ones are whole', async () => {
  const directory = temporaryDirectory();
  const options = { directory, segmentBytes: 1024 * 1024, hotBytes: 1 };
  const filled = await openDiskLog(options);
  const followed: string[] = [];
  for (let i = 0; i < 8_000; i += 40) {
    const data = String(i).padEnd(i % 1_000 === 0 ? 20_000 : 1_000, '.');
    followed.push(data);
    const others = Array.from({ length: 39 }, (_, k) => message(`other/${k}`, 'x'.repeat(1_000)));
    await filled.append([message('followed', data), ...others], 'written');
  }
  await filled.close();

  let bytes = 0;
  const log = await openDiskLog({ ...options, disk: countingDisk(read => (bytes += read)) });
  const readFrom = async (after: number, filter = 'followed', maxBytes = 64 * 1024): Promise<string[]> => {
    const found: string[] = [];
    for (let at = after; at < log.head.offset; ) {
      const slice = await log.read(at, log.head.offset, filterSet([filter]), maxBytes);
      found.push(...slice.records.map(({ data }) => Buffer.from(data).toString()));
      at = slice.next;
    }
    return found;
  };
  bytes = 0;
  expect(await readFrom(0)).toEqual(followed);
  expect(bytes).toBeLessThan(2 * followed.join('').length);
  // from the middle of a segment, and from where each of them begins
  for (const after of [1, 40, 41, 4_321]) expect(await readFrom(after)).toEqual(followed.slice(Math.ceil(after / 40)));
  // by a scan, which uses its buffers again
  bytes = 0;
  expect(await readFrom(0, '+', 1024 * 1024)).toEqual(followed);
  expect(bytes).toBeLessThan(1.1 * log.status.bytes);
  expect(await readFrom(0, '+')).toEqual(followed);
  for (let i = 1; i <= 8_000; i += 250) expect(await readFrom(i)).toEqual(followed.slice(Math.ceil(i / 40)));
  await log.close();
});
