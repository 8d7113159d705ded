import * as fs from 'node:fs';
import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { type DiskLog, type DiskLogOptions, dump, openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

describe('a log that is opened again', () => {
  test('begins a new epoch at head + 1 with a number that only grows, and knows where each ended', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const epochs: number[] = [];
    let id = '';
    for (let start = 0; start < 5; start++) {
      // a clock that went back must not give an epoch twice
      clock.wall -= 10_000;
      const log = await openDiskLog({ directory, clock });
      if (start > 0) expect(log.id).toBe(id);
      id = log.id;
      expect(log.head.offset).toBe(start * 2);
      expect(log.head.epoch).toBe(log.epochOf(start * 2));
      epochs.push(log.epochOf(start * 2 + 1));
      epochs.forEach((epoch, i) => {
        expect(log.endOf(epoch)).toBe(i === start ? log.head.offset : (i + 1) * 2);
      });
      expect(log.endOf(epochs[0]! - 1)).toBeUndefined();
      await log.append([message('a'), message('a')], 'fsync');
      expect(log.head.epoch).toBe(epochs[start]);
      expect(log.endOf(epochs[start]!)).toBe(start * 2 + 2);
      await log.close();
    }
    expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => a - b));
    clock.wall += 1e9;
    const log = await openDiskLog({ directory, clock });
    expect(log.epochOf(11)).toBe(Math.floor(clock.wall / 1000));
    await log.close();
  });

  test('time goes on from the newest record although the clock stands earlier', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    let log = await openDiskLog({ directory, clock });
    await log.append([message('a')], 'fsync');
    const { time } = log.head;
    await log.close();
    clock.wall -= 3_600_000;
    log = await openDiskLog({ directory, clock });
    expect(await log.append([message('a')], 'fsync')).toMatchObject([{ offset: 2, time }]);
    await log.close();
  });

  test('still knows ids, sequences and ended topics', async () => {
    const directory = temporaryDirectory();
    const options: DiskLogOptions = { directory, segmentBytes: 4096 };
    let log = await openDiskLog(options);
    for (let i = 0; i < 60; i++) {
      await log.append([message(`t/${i % 4}`, 'x'.repeat(100), { id: `i${i}`, producer: 'p', sequence: i })], 'fsync');
    }
    await log.append([message('over', '1', { end: true })], 'fsync');
    await log.append([message('t/0', 'x'.repeat(4000))], 'fsync');
    await log.close();
    for (let start = 0; start < 3; start++) {
      log = await openDiskLog(options);
      const head = log.head.offset;
      expect(log.memory).toMatchObject({ ids: 60, producers: 1, endedTopics: 1 });
      for (const i of [0, 17, 59]) {
        const [byId] = await log.append([message(`t/${i % 4}`, '', { id: `i${i}` })], 'fsync');
        expect(byId).toMatchObject({ offset: i + 1, duplicate: true });
        const [bySequence] = await log.append([message('x', '', { producer: 'p', sequence: i })], 'fsync');
        expect(bySequence).toMatchObject({ offset: i + 1, duplicate: true });
      }
      expect([log.endedAt('over'), log.endedAt('t/0')]).toEqual([61, 0]);
      expect(await log.append([message('over')], 'fsync')).toMatchObject([{ error: { code: 'topic_ended' } }]);
      expect(log.head.offset).toBe(head);
      await log.close();
    }
  });

  test('holds records larger than a write and than a segment', async () => {
    const directory = temporaryDirectory();
    const options: DiskLogOptions = { directory, segmentBytes: 64 * 1024, recordBytes: 32 << 20, hotBytes: 1 };
    const sizes = [10, 3 << 20, 100, 20 << 20, 70_000, 10];
    let log = await openDiskLog(options);
    await Promise.all(
      sizes.map((size, i) => log.append([message('big', Buffer.alloc(size, i + 1))], i % 2 ? 'fsync' : 'written')),
    );
    for (let start = 0; start < 2; start++) {
      const records = await readAllOf(log, ['#']);
      expect(records.map(record => record.data.length)).toEqual(sizes);
      expect(records.every((record, i) => Buffer.alloc(sizes[i]!, i + 1).equals(record.data))).toBe(true);
      expect((await readAllOf(log, ['big'])).length).toBe(sizes.length);
      await log.close();
      log = await openDiskLog(options);
    }
    await log.close();
  });

  test('is dumped and verified without a server', async () => {
    const directory = temporaryDirectory();
    const log = await openDiskLog({ directory, segmentBytes: 4096 });
    for (let i = 0; i < 100; i++) await log.append([message(`t/${i % 3}`, `${i}`.padStart(100))], 'fsync');
    await log.close();
    const report = await verify(directory);
    expect(report).toMatchObject({ id: log.id, records: 100, first: 1, last: 100, damages: [], notes: [] });
    expect(report.segments).toBeGreaterThan(3);
    const offsets: number[] = [];
    for await (const record of dump(directory, { from: 20, to: 80, filters: filterSet(['t/1']) }))
      offsets.push(record.offset);
    expect(offsets).toEqual(Array.from({ length: 21 }, (_, i) => 20 + i * 3));
  });

  test('written records are synced within a second, and an idle log says on disk what is durable', async () => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const log = await openDiskLog({ directory, clock, segmentBytes: 8192 });
    await log.append([message('a')], 'written');
    expect(log.durableOffset).toBe(0);
    await until('the record is synced', () => {
      clock.advance(500);
      return log.durableOffset === 1;
    });
    await log.append([message('a')], 'fsync');
    expect(log.durableOffset).toBe(2);
    const copy = path.join(directory, 'copy');
    fs.mkdirSync(copy);
    // what a power cut now leaves: opening it copies nothing, since everything is known to be durable
    const kinds: string[] = [];
    await waitFor(async () => {
      fs.rmSync(copy, { recursive: true });
      fs.mkdirSync(copy);
      for (const name of fs.readdirSync(directory))
        if (/\.log$|^epochs$|json$/.test(name)) fs.copyFileSync(path.join(directory, name), path.join(copy, name));
      kinds.length = 0;
      clock.advance(500);
      await (await openDiskLog({ directory: copy, onReport: report => void kinds.push(report.kind) })).close();
      return !kinds.includes('tail_copied');
    });
    expect(kinds).toEqual(['recovered']);
    await log.close();
  });
});

async function waitFor(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) if (await holds()) return;
  throw new Error('did not happen');
}

describe('retention', () => {
  const fill = async (options: Partial<DiskLogOptions>, batches = 40) => {
    const clock = new ManualClock();
    const directory = temporaryDirectory();
    const log = await openDiskLog({ directory, clock, segmentBytes: 4096, hotBytes: 1, ...options });
    for (let i = 0; i < batches; i++) {
      await log.append([message('a', 'x'.repeat(400))], 'fsync');
      clock.advance(1000);
    }
    return { log, clock, directory };
  };

  test('by bytes removes the oldest segments, files and all, and raises the floor', async () => {
    const { log, clock, directory } = await fill({ retention: { bytes: 10_000 } });
    await until('bytes are removed', () => {
      clock.advance(10_000);
      return log.status.bytes <= 10_000;
    });
    await until('the files are gone', () => {
      const files = fs.readdirSync(directory).filter(name => name.endsWith('.log'));
      return files.length === log.status.segments;
    });
    const { floor } = log;
    expect(floor).toBeGreaterThan(10);
    const names = fs.readdirSync(directory);
    expect(names.filter(name => name.endsWith('.idx')).length).toBeLessThanOrEqual(log.status.segments);
    expect(await log.read(0, 40, filterSet(['a']), 1)).toMatchObject({
      after: floor,
      records: [{ offset: floor + 1 }],
    });
    await log.close();
    const again = await openDiskLog({ directory, clock });
    expect(again.floor).toBe(floor);
    expect(again.head.offset).toBe(40);
    await again.close();
  });

  test('by age lets everything go, the active segment too, and offsets go on after a restart', async () => {
    const { log, clock, directory } = await fill({ retention: { age: 60_000, graceMs: 0 } });
    await until('everything is removed', () => {
      clock.advance(20_000);
      return log.floor === 40;
    });
    expect(log.head.offset).toBe(40);
    expect(await log.positionAt(0)).toMatchObject({ offset: 40 });
    await log.close();
    const again = await openDiskLog({ directory, clock });
    expect(again.head.offset).toBe(40);
    expect(await again.append([message('a')], 'fsync')).toMatchObject([{ offset: 41 }]);
    await again.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('waits when a start would remove much at once', async () => {
    const kinds: string[] = [];
    const { log, clock, directory } = await fill({});
    await log.close();
    clock.wall += 86_400_000;
    const again = await openDiskLog({
      directory,
      clock,
      segmentBytes: 4096,
      retention: { age: 60_000, graceMs: 300_000 },
      onReport: report => void kinds.push(report.kind),
    });
    for (let seconds = 0; seconds < 290; seconds += 10) {
      clock.advance(10_000);
      await new Promise(resolve => setImmediate(resolve));
    }
    await until('it waits', () => kinds.includes('retention_waits'));
    expect(again.floor).toBe(0);
    expect(again.status.retentionWaitingBytes).toBeGreaterThan(again.status.bytes / 10);
    await until('the grace is over', () => {
      clock.advance(10_000);
      return again.floor > 30;
    });
    expect(again.status.retentionWaitingBytes).toBe(0);
    await again.close();
  });

  test('does not wait when little is old, nor after a clock that was wrong is set', async () => {
    const { log, clock, directory } = await fill({});
    await log.close();
    clock.wall += 86_400_000;
    const open = (): Promise<DiskLog> =>
      openDiskLog({ directory, clock, segmentBytes: 4096, retention: { age: 60_000, graceMs: 300_000 } });
    const wrong = await open();
    await until('it waits', () => {
      clock.advance(10_000);
      return wrong.status.retentionWaitingBytes > 0;
    });
    await wrong.close();
    clock.wall -= 86_400_000 + 40_000;
    const right = await open();
    clock.advance(10_000);
    await new Promise(resolve => setImmediate(resolve));
    expect(right.status.retentionWaitingBytes).toBe(0);
    expect(right.floor).toBe(0);
    await right.close();
  });

  test('a reader that is at it goes on or is told where the log begins now', async () => {
    const { log } = await fill({});
    const reads = Array.from({ length: 20 }, () => log.read(0, 40, filterSet(['#']), 1e6));
    const trimmed = log.trim(30);
    for (const first of await Promise.all(reads)) {
      // a segment that went meanwhile ends the slice; the next one begins behind it and says so
      for (let slice = first; ; ) {
        expect(slice.records.map(record => record.offset)).toEqual(
          Array.from({ length: slice.next - slice.after }, (_, i) => slice.after + 1 + i),
        );
        if (slice.next > 30) break;
        const { next } = slice;
        slice = await log.read(next, 40, filterSet(['#']), 1e6);
        expect(slice.next).toBeGreaterThan(next);
      }
    }
    await trimmed;
    expect((await readAllOf(log, ['a'])).length).toBe(40 - log.floor);
    await log.close();
  });
});
