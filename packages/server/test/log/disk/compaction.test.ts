import { filterSet } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DiskLog,
  type DiskLogOptions,
  dump,
  type KeepOptions,
  openDiskLog,
  verify,
} from '../../../src/log/index.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { baseName, directory, diskWith, type Image, imageOf } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const hour = 60 * 60 * 1000;

/** No ids are kept back, no records in memory: everything that is sealed may be rewritten. */
const eager: Partial<DiskLogOptions> = { segmentBytes: 2048, hotBytes: 1, dedupe: { ids: 0, ageMs: 0 } };

class Subject {
  readonly machine = new SimulatedDisk(new SeededRandom(1));
  readonly clock = new ManualClock();
  readonly options: Partial<DiskLogOptions>;
  log!: DiskLog;

  constructor(options: Partial<DiskLogOptions>) {
    this.options = options;
  }

  async open(): Promise<this> {
    this.log = await openDiskLog({
      directory,
      disk: this.machine.boot(),
      clock: this.clock,
      onReport: ({ kind, message }) => {
        if (kind === 'compaction_failed' || kind === 'fenced') throw new Error(message);
      },
      ...eager,
      ...this.options,
    });
    return this;
  }

  async reopen(): Promise<this> {
    await this.log.close();
    return this.open();
  }

  /** Offsets of what the topic, or a filter, has left. */
  async left(...filters: string[]): Promise<number[]> {
    return (await readAllOf(this.log, filters.length === 0 ? ['#'] : filters)).map(({ offset }) => offset);
  }
}

async function subject(keep: KeepOptions, options: Partial<DiskLogOptions> = {}): Promise<Subject> {
  return new Subject({ keep, ...options }).open();
}

async function flood(log: DiskLog, topic: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await log.append([message(topic, '.'.repeat(100))], 'fsync');
}

describe('keep last N', () => {
  test('leaves the newest N of each topic, across segments, at their offsets and times', async () => {
    const { log, clock } = await subject({ rules: [{ filter: 'a/#', last: 3 }] });
    const before: LogRecord[] = [];
    for (let i = 0; i < 60; i++) {
      clock.advance(500);
      await log.append([message(`a/${i % 2}`, `${i}`, { headers: { n: `${i}` } }), message('b', `${i}`)], 'fsync');
    }
    await flood(log, 'c', 40);
    before.push(...(await readAllOf(log, ['#'])));
    const { records, segments } = await log.compact();
    expect(records).toBe(60 - 6);
    expect(segments).toBeGreaterThan(1);
    const after = await readAllOf(log, ['#']);
    const kept = before.filter(({ topic, offset }) => !topic.startsWith('a/') || offset > 120 - 12);
    expect(after.map(plainly)).toEqual(kept.map(plainly));
    expect(await log.newest(filterSet(['a/+']), 5, log.head.offset)).toEqual(
      Float64Array.from([109, 111, 113, 115, 117, 119]),
    );
    await log.close();
  });

  test('is done once: a second time there is nothing to do', async () => {
    const { log } = await subject({ rules: [{ filter: 'a', last: 3 }] });
    await flood(log, 'a', 100);
    expect((await log.compact()).records).toBeGreaterThan(50);
    expect(await log.compact()).toEqual({ segments: 0, records: 0, bytes: 0, keptForDedupe: 0 });
    await log.close();
  });

  test('does not rewrite a segment of which little would go', async () => {
    const { log } = await subject({ rules: [{ filter: 'a', last: 1 }] });
    for (let i = 0; i < 100; i++) await flood(log, i % 10 === 0 ? 'a' : 'b', 1);
    expect(await log.compact(0.5)).toEqual({ segments: 0, records: 0, bytes: 0, keptForDedupe: 0 });
    expect((await log.compact(0.01)).records).toBeGreaterThan(0);
    await log.close();
  });
});

test('it is looked for from time to time, when enough is new', async () => {
  const { log, clock } = await subject({ rules: [{ filter: 'a', last: 3 }] });
  await flood(log, 'a', 100);
  const { bytes } = log.status;
  clock.advance(60_000);
  await until('the log is smaller', () => log.status.bytes < bytes / 2);
  await log.close();
});

test('ids that de-duplication needs at the next start stay', async () => {
  const machine = new SimulatedDisk(new SeededRandom(1));
  const open = (): Promise<DiskLog> =>
    openDiskLog({
      directory,
      disk: machine.boot(),
      clock: new ManualClock(),
      ...eager,
      dedupe: { ids: 50, ageMs: 0 },
      keep: { rules: [{ filter: 'a', last: 1 }] },
    });
  let log = await open();
  for (let i = 1; i <= 100; i++) await log.append([message('a', '.'.repeat(100), { id: `${i}` })], 'fsync');
  expect((await log.compact()).records).toBeGreaterThan(10);
  await log.close();
  log = await open();
  for (let i = 51; i <= 100; i++)
    expect(await log.append([message('a', '', { id: `${i}` })], 'fsync')).toMatchObject([
      { offset: i, duplicate: true },
    ]);
  await log.close();
});

describe('beside ids that are still needed', () => {
  /** Ten records of 100 bytes and more are a segment; every fourth has an id. */
  async function mixed(keep: KeepOptions, dedupe = { ids: 30, ageMs: 0 }): Promise<Subject> {
    const room = await subject(keep, { dedupe });
    for (let i = 1; i <= 160; i++)
      await room.log.append([message('a', '.'.repeat(100), { key: 'k', ...idOf(i) })], 'fsync');
    return room;
  }

  const idOf = (offset: number): { id?: string } => (offset % 4 === 0 ? { id: `${offset}` } : {});

  const recognises = async ({ log }: Subject, ids: number): Promise<void> => {
    for (let offset = 160; offset > 160 - ids * 4; offset -= 4)
      expect(await log.append([message('a', '', idOf(offset))], 'fsync')).toMatchObject([{ offset, duplicate: true }]);
  };

  const loseCheckpoints = async ({ machine }: Subject): Promise<void> => {
    const disk = machine.boot();
    for (const name of await disk.list(directory))
      if (name.endsWith('.dedupe')) await disk.unlink(`${directory}/${name}`);
  };

  test.each([{ last: 1 }, { lastPerKey: true as const }])(
    'records without one go by %j, and all ids are found again',
    async rule => {
      const room = await mixed({ rules: [{ filter: 'a', ...rule }] });
      const { keptForDedupe, records } = await room.log.compact();
      const left = await room.left();
      expect(left.length).toBe(160 - records);
      const compacted = left.filter(offset => offset < 130);
      expect(compacted.filter(offset => offset > 60)).toEqual(
        Array.from({ length: 17 }, (_, i) => 64 + i * 4).filter(offset => offset < 130),
      );
      expect(keptForDedupe).toBeGreaterThanOrEqual(17);
      expect(await room.log.compact()).toMatchObject({ segments: 0, records: 0, keptForDedupe });
      await room.log.close();
      await loseCheckpoints(room);
      await room.open();
      expect(await room.left()).toEqual(left);
      await recognises(room, 30);
      await room.reopen();
      await recognises(room, 30);
      await room.log.close();
      expect((await verify(directory, room.machine.boot())).damages).toEqual([]);
    },
  );

  test('a deletion with one stays, however old, and one without goes', async () => {
    const room = await subject(
      { rules: [{ filter: 't', lastPerKey: true }], tombstoneAgeMs: hour },
      { dedupe: { ids: 1, ageMs: 0 } },
    );
    const { log, clock } = room;
    await log.append([message('t', '', { key: 'a', id: 'a' }), message('t', '', { key: 'b' })], 'fsync');
    await flood(log, 'c', 40);
    clock.advance(2 * hour);
    expect(await log.compact()).toMatchObject({ records: 1, keptForDedupe: 1 });
    expect(await room.left('t')).toEqual([1]);
    await log.append([message('c', '', { id: 'b' })], 'fsync');
    await flood(log, 'c', 40);
    expect(await log.compact()).toMatchObject({ records: 1, keptForDedupe: 0 });
    expect(await room.left('t')).toEqual([]);
    await log.close();
  });

  test('what stayed goes once newer ids have taken its place, without being asked for', async () => {
    const room = await mixed({ rules: [{ filter: 'a', last: 1 }] });
    room.clock.advance(60_000);
    await until('those without ids are gone', async () => (await room.left('a')).length < 60);
    for (let i = 0; i < 40; i++) await room.log.append([message('b', '.'.repeat(100), { id: `b${i}` })], 'fsync');
    room.clock.advance(60_000);
    await until('those with ids are gone', async () => (await room.left('a')).length === 1);
    await room.log.close();
  });
});

describe('keep last per key', () => {
  test('leaves the newest of each key of each topic, and all without a key', async () => {
    const room = await subject({ rules: [{ filter: 't/#', lastPerKey: true }] });
    const { log } = room;
    const expected: number[] = [];
    for (let i = 0; i < 90; i++) {
      const fields = i % 3 === 0 ? {} : { key: `k${i % 5}`, id: `${i}`, event: 'e' };
      await log.append([message(`t/${i % 2}`, `${i}`, fields)], 'fsync');
      if (i % 3 === 0) expected.push(i + 1);
    }
    await flood(log, 'c', 60);
    const newest = new Map<string, number>();
    for (const { topic, key, offset } of await readAllOf(log, ['t/#'])) if (key) newest.set(`${topic} ${key}`, offset);
    await log.compact();
    expect(await room.left('t/#')).toEqual([...expected, ...newest.values()].sort((a, b) => a - b));
    await room.reopen();
    expect(await room.left('t/#')).toEqual([...expected, ...newest.values()].sort((a, b) => a - b));
    await room.log.close();
  });

  test('with too little memory for all keys it keeps more, never less', async () => {
    const room = await subject({ rules: [{ filter: '#', lastPerKey: true }] }, { keyIndexBytes: 1000 });
    for (let i = 0; i < 300; i++) await room.log.append([message('t', `${i}`, { key: `${i % 100}` })], 'fsync');
    const newest = (await room.left()).slice(-100);
    expect((await room.log.compact()).records).toBeGreaterThan(0);
    expect(await room.left()).toEqual(expect.arrayContaining(newest));
    await room.log.close();
  });

  test('a deletion goes when it is old and nothing older is left, and is told of its own kind', async () => {
    const room = await subject({ rules: [{ filter: 't', lastPerKey: true }], tombstoneAgeMs: 24 * hour });
    const { log, clock } = room;
    await log.append([message('t', 'x', { key: 'a' }), message('t', 'y', { key: 'b' })], 'fsync');
    await log.append([message('t', '', { key: 'a' })], 'fsync');
    await flood(log, 'c', 60);
    await log.compact();
    expect(await room.left('t')).toEqual([2, 3]);
    expect(await log.droppedAfter(0, filterSet(['t']))).toEqual({ records: 1, deletions: 0 });
    await log.compact();
    expect(await room.left('t')).toEqual([2, 3]);
    clock.advance(25 * hour);
    await log.compact();
    expect(await room.left('t')).toEqual([2]);
    expect(await log.droppedAfter(0, filterSet(['t']))).toEqual({ records: 3, deletions: 3 });
    expect(await log.droppedAfter(0, filterSet(['c']))).toEqual({ records: 0, deletions: 0 });
    await room.reopen();
    expect(await room.left('t')).toEqual([2]);
    expect(await room.log.droppedAfter(0, filterSet(['+']))).toEqual({ records: 3, deletions: 3 });
    await room.log.close();
  });

  test('a deletion stays while an older record of its key is left', async () => {
    const room = await subject({ rules: [{ filter: 't', lastPerKey: true }], tombstoneAgeMs: hour });
    const { log, clock } = room;
    await log.append([message('t', 'x', { key: 'a' })], 'fsync');
    await flood(log, 'c', 30);
    await log.append([message('t', '', { key: 'a' })], 'fsync');
    await flood(log, 'c', 30);
    clock.advance(2 * hour);
    // the value is a small part of its segment and stays
    await log.compact(0.5);
    expect(await room.left('t')).toEqual([1, 32]);
    // with both gone nothing is left to come back
    expect(await log.compact()).toMatchObject({ records: 2 });
    expect(await room.left('t')).toEqual([]);
    expect(await log.compact()).toMatchObject({ segments: 0, records: 0 });
    await log.close();
  });
});

describe('a rewritten log', () => {
  test('keeps its head, its end and its chain although its last records are gone', async () => {
    const room = await subject({ rules: [{ filter: 'a', last: 1 }] });
    await flood(room.log, 'a', 60);
    await flood(room.log, 'b', 1);
    await room.reopen();
    await flood(room.log, 'a', 1);
    await room.reopen();
    await room.log.compact();
    expect(await room.left('a')).toEqual([62]);
    const { head } = room.log;
    await room.reopen();
    expect(room.log.head).toMatchObject({ offset: head.offset, time: head.time });
    expect(await room.left()).toEqual([61, 62]);
    await flood(room.log, 'a', 20);
    await room.reopen();
    await room.log.close();
    expect((await verify(directory, room.machine.boot())).damages).toEqual([]);
    const dumped: number[] = [];
    for await (const { offset } of dump(directory, { disk: room.machine.boot() })) dumped.push(offset);
    expect(dumped).toEqual([61, ...Array.from({ length: 21 }, (_, i) => 62 + i)]);
  });

  test('positions by time and offset lie between what is left', async () => {
    const room = await subject({ rules: [{ filter: 'a', last: 1 }] });
    const { log, clock } = room;
    const begin = clock.wall;
    for (let i = 0; i < 50; i++) {
      clock.advance(1000);
      await flood(log, 'a', 1);
    }
    clock.advance(1000);
    await flood(log, 'b', 30);
    await log.compact();
    expect(await room.left('a')).toEqual([50]);
    expect((await log.positionAt(begin + 10_000)).offset).toBe(49);
    expect((await log.positionOf(20)).time).toBeLessThanOrEqual(begin + 20_000);
    expect((await log.positionAt(begin + 51_000)).offset).toBe(50);
    await log.close();
  });

  test('a reader in the middle of the old generation goes on', async () => {
    const room = await subject({ rules: [{ filter: 'a', last: 5 }] });
    const { log } = room;
    for (let i = 0; i < 200; i++) await flood(log, i % 4 === 0 ? 'b' : 'a', 1);
    const b = filterSet(['b']);
    const offsets: number[] = [];
    let compacted = false;
    const compaction = log.compact().then(() => {
      compacted = true;
    });
    for (let after = 0, rounds = 0; after < log.head.offset || !compacted; rounds++) {
      const slice = await log.read(after, log.head.offset, b, 1);
      expect(slice.after).toBe(after);
      expect(slice.dropped).toEqual({ records: 0, deletions: 0 });
      offsets.push(...slice.records.map(({ offset }) => offset));
      after = slice.next;
      if (after >= log.head.offset && !compacted && rounds < 10_000) {
        expect(offsets).toHaveLength(50);
        offsets.length = 0;
        after = 0;
      }
    }
    await compaction;
    expect(offsets).toHaveLength(50);
    await log.close();
  });

  test('what retention removes meanwhile does not come back', async () => {
    const room = await subject({ rules: [{ filter: 'a', last: 5 }] });
    const { log } = room;
    for (let i = 0; i < 200; i++) await flood(log, i % 4 === 0 ? 'b' : 'a', 1);
    const compaction = log.compact();
    await log.trim(150);
    await compaction;
    expect((await room.left('b'))[0]).toBeGreaterThan(100);
    const left = await room.left();
    await room.reopen();
    expect(await room.left()).toEqual(left);
    await room.log.close();
    expect((await verify(directory, room.machine.boot())).damages).toEqual([]);
  });
});

test('every flipped byte of a rewritten generation is found', async () => {
  const room = await subject({ rules: [{ filter: 'a/#', last: 1 }] });
  for (let i = 0; i < 60; i++) await flood(room.log, `a/${i % 7}`, 1);
  await flood(room.log, 'b', 10);
  await room.log.compact();
  await room.log.close();
  const image: Image = imageOf(room.machine);
  const files = [...image.keys()].filter(file => /\.0001\.(log|idx)$/.test(file));
  expect(files.some(file => file.endsWith('.log'))).toBe(true);
  for (const file of files) {
    const content = image.get(file)!;
    for (let at = 0; at < content.length; at += file.endsWith('.log') ? 3 : 7) {
      const damaged = Buffer.from(content);
      damaged[at]! ^= 0x10;
      const machine = await diskWith(new Map([...image, [file, damaged]]));
      const { damages } = await verify(directory, machine.boot());
      expect(damages.length, `${baseName(file)} at ${at}`).toBeGreaterThan(0);
    }
  }
}, 60_000);

test('a reader that needs damaged marks gets an error, not silence', async () => {
  const room = await subject({ rules: [{ filter: 'a', last: 1 }] });
  await flood(room.log, 'a', 60);
  await room.log.compact();
  await room.log.close();
  const image = imageOf(room.machine);
  const file = [...image.keys()].find(name => name.endsWith('.0001.log'))!;
  const damaged = Buffer.from(image.get(file)!);
  damaged[128 + 10]! ^= 1;
  const machine = await diskWith(new Map([...image, [file, damaged]]));
  const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), ...eager });
  await expect(log.read(0, 60, filterSet(['a']), 1000)).rejects.toMatchObject({ code: 'log_damaged' });
  await log.close();
});

test('a reader that needs marks which the disk cannot read gets an error that names the place', async () => {
  const { log, machine } = await subject({ rules: [{ filter: 'a', last: 1 }] });
  await flood(log, 'a', 60);
  await log.compact();
  machine.fault = (operation, file) => {
    if (operation === 'read' && file.endsWith('.0001.log')) throw failure('EIO', file);
  };
  await expect(log.droppedAfter(0, filterSet(['a']))).rejects.toMatchObject({
    code: 'log_damaged',
    message: expect.stringMatching(/position 128.*the disk cannot read it \(EIO\)/),
  });
  await log.close();
});

test('every reader sees what survives in order, and is told iff something that matches was dropped', async () => {
  const step = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        topic: fc.constantFrom('k/1', 'k/2', 'n/1', 'n/2', 'p'),
        key: fc.option(fc.constantFrom('a', 'b', 'c')),
        deletes: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.constantFrom('compact' as const, 'reopen' as const, 'day' as const) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 30, maxLength: 150 }),
      fc.array(fc.nat(200), { maxLength: 6 }),
      async (steps, cursors) => {
        const room = await subject({
          rules: [
            { filter: 'k/#', lastPerKey: true },
            { filter: 'n/+', last: 2 },
          ],
          tombstoneAgeMs: 24 * hour,
        });
        const all: { topic: string; key: string | undefined; deletion: boolean }[] = [];
        for (const step of steps) {
          if (step === 'compact') await room.log.compact();
          else if (step === 'reopen') await room.reopen();
          else if (step === 'day') room.clock.advance(25 * hour);
          else {
            const key = step.key ?? undefined;
            const deletion = step.deletes && key !== undefined;
            await room.log.append([message(step.topic, deletion ? '' : '.'.repeat(200), { key })], 'fsync');
            all.push({ topic: step.topic, key, deletion });
          }
        }
        await room.log.compact();
        const left = new Set(await room.left());
        const head = all.length;
        // what must be there: the newest of each key that is no old deletion, the newest two, all the rest
        all.forEach(({ topic, key, deletion }, i) => {
          const newer = all.slice(i + 1).filter(other => other.topic === topic);
          const needed =
            topic === 'p' ||
            (topic.startsWith('n') && newer.length < 2) ||
            (topic.startsWith('k') && (key === undefined || (!deletion && !newer.some(other => other.key === key))));
          if (needed) expect(left.has(i + 1), `offset ${i + 1} is there`).toBe(true);
        });
        for (const filters of [['#'], ['k/1'], ['k/+'], ['n/1', 'p'], ['p']]) {
          const set = filterSet(filters);
          const matching = all
            .map((record, i) => ({ ...record, offset: i + 1 }))
            .filter(({ topic }) => set.matches(topic));
          for (const cursor of [0, ...cursors.map(at => at % (head + 1))]) {
            const gone = matching.filter(({ offset }) => offset > cursor && !left.has(offset));
            const dropped = await room.log.droppedAfter(cursor, set);
            expect(dropped.records > cursor).toBe(gone.length > 0);
            if (gone.length > 0) expect(dropped.records).toBe(gone[gone.length - 1]!.offset);
            let told = false;
            const seen: number[] = [];
            for (let after = cursor; after < head; ) {
              const slice = await room.log.read(after, head, set, 300);
              told ||= slice.dropped.records > after;
              seen.push(...slice.records.map(({ offset }) => offset));
              after = slice.next;
            }
            expect(told).toBe(gone.length > 0);
            expect(seen).toEqual(
              matching.filter(({ offset }) => offset > cursor && left.has(offset)).map(({ offset }) => offset),
            );
          }
        }
        await room.log.close();
        expect((await verify(directory, room.machine.boot())).damages).toEqual([]);
      },
    ),
    { numRuns: 60 },
  );
}, 100_000);

function plainly(record: LogRecord): unknown {
  return { ...record, data: Buffer.from(record.data).toString() };
}
