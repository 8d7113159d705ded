import * as fs from 'node:fs';
import * as path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { filterSet } from '@tailrace/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { alignedMemory, blockBytes } from '../../../src/log/disk/files/aligned-memory.ts';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import { type ScannedFrame, scanSegment } from '../../../src/log/disk/segment/scan.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../../../src/log/disk/segment/segment-header.ts';
import { type Disk, LogDamaged, openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import {
  directory,
  diskWith,
  type Image,
  newestSegment,
  type PreparedLog,
  prepareLog,
  reopen,
  textOf,
} from './prepared-log.ts';

const batches = 12;
let killed: PreparedLog;
let file: string;
let frames: readonly ScannedFrame[];

beforeAll(async () => {
  killed = await prepareLog(batches, 'killed', { segmentBytes: 65_536 }, 'direct');
  file = newestSegment(killed.image);
  frames = framesOf(killed.image.get(file)!);
});

function framesOf(content: Buffer): readonly ScannedFrame[] {
  return scanSegment(content, decodeSegmentHeader(content) as SegmentHeader).frames;
}

/** How many records the log has with the segment changed so; those must be the first that were written. */
async function recordsWith(change: (content: Buffer) => void): Promise<number> {
  const content = Buffer.from(killed.image.get(file)!);
  change(content);
  const image: Image = new Map([...killed.image, [file, content]]);
  const { records } = await reopen(image, { segmentBytes: 65_536 });
  expect(records.map(textOf)).toEqual(killed.data.slice(0, records.length));
  return records.length;
}

describe('commits of whole blocks', () => {
  test('begin and end at the border of a block, and are read back', async () => {
    expect(frames).toHaveLength(batches);
    // the first batch comes before its file, and the second begins where that ends
    for (const { position, length } of frames.slice(2))
      expect([position % blockBytes, length % blockBytes]).toEqual([0, 0]);
    expect(await recordsWith(() => undefined)).toBe(3 * batches);
  });

  test('that a crash tears anywhere are cut, and whole where only padding is missing', async () => {
    const { position, length } = frames.at(-1)!;
    const content = killed.image.get(file)!;
    for (let from = position; from < position + length; from += 13) {
      const whole = content.subarray(from, position + length).every(byte => byte === 0);
      expect(await recordsWith(torn => torn.fill(0, from, position + length))).toBe(
        3 * (whole ? batches : batches - 1),
      );
    }
    // the blocks of one write reach the disk in any order
    for (let from = position; from < position + length; from += blockBytes)
      expect(await recordsWith(torn => torn.fill(0, from, from + blockBytes))).toBe(3 * (batches - 1));
  });

  test('are damaged where padding is not what was written, in what was durable', async () => {
    const { position, length } = frames[4]!;
    const paddingAt = position + length - 1;
    expect(killed.image.get(file)![paddingAt]).toBe(0);
    await expect(recordsWith(content => content.fill(1, paddingAt, paddingAt + 1))).rejects.toThrow(LogDamaged);
  });

  test('go on in a log whose frames follow each other without padding', async () => {
    const old = await prepareLog(batches, 'closed');
    const machine = await diskWith(old.image);
    machine.writesDirect = true;
    const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 65_536 });
    const later: string[] = [];
    for (let i = 0; i < 20; i++) {
      // few bytes through the page cache, many past it, in one segment
      const text = `later ${i} ${'.'.repeat(i % 4 === 0 ? 10 : 2000)}`;
      later.push(text);
      await log.append([message('t/0', text)], i % 5 === 0 ? 'written' : 'fsync');
    }
    expect(machine.directCommits).toBeGreaterThan(0);
    const records = await readAllOf(log, ['#']);
    await log.close();
    expect(records.map(textOf)).toEqual([...old.data, ...later]);
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });
});

test('files are read back through the page cache while they are written past it', async () => {
  let commits = 0;
  const counting: Disk = {
    ...nodeDisk,
    async open(name, mode) {
      const opened = await nodeDisk.open(name, mode);
      const { direct } = opened;
      if (direct === undefined) return opened;
      const { writeSynced } = direct;
      direct.writeSynced = (...of) => {
        commits++;
        return writeSynced(...of);
      };
      return opened;
    },
  };
  const log = await openDiskLog({
    directory: temporaryDirectory(),
    disk: counting,
    hotBytes: 1,
    segmentBytes: 1 << 20,
  });
  const written: string[] = [];
  let stopped = false;
  const write = async (writer: number): Promise<void> => {
    for (let i = 0; i < 60; i++) {
      const text = `${writer}.${i} ${'x'.repeat((writer * 997 + i * 131) % 4000)}`;
      const [appended] = await log.append([message('t/0', text)], 'fsync');
      if (appended !== undefined && 'offset' in appended) written[appended.offset - 1] = text;
    }
  };
  const read = async (): Promise<void> => {
    while (!stopped) {
      await setImmediate();
      for (let after = 0; after < log.head.offset; ) {
        const { records, next } = await log.read(after, log.head.offset, filterSet(['#']), 100_000);
        for (const record of records)
          if (textOf(record) !== (written[record.offset - 1] ?? textOf(record)))
            throw new Error(`offset ${record.offset} holds ${textOf(record).slice(0, 10)}`);
        after = next;
      }
    }
  };
  const readers = [read(), read()];
  await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)));
  stopped = true;
  await Promise.all(readers);
  expect((await readAllOf(log, ['#'])).map(textOf)).toEqual(written);
  await log.close();
  // on file systems that have no such writes there are none
  console.log(`${commits} writes past the page cache`);
});

test('what a disk refuses to write past the page cache is written through it', async () => {
  const name = path.join(temporaryDirectory(), 'file');
  const opened = await nodeDisk.open(name, 'create');
  const memory = alignedMemory(65_536);
  memory.fill(7);
  // somewhere no disk begins a block
  await opened.direct?.writeSynced(memory, 3, 1000, 5);
  await opened.write(memory, 0, 5, 0);
  await opened.close();
  const content = fs.readFileSync(name);
  if (process.platform === 'linux') expect(content).toEqual(Buffer.alloc(1005, 7));
});
