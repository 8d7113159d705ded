import { filterSet, isTailraceError } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newestFirst } from '../../../src/api/routes/newest.ts';
import type { Hub } from '../../../src/hub/index.ts';
import { type Appended, type Log, type LogRecord, type MemoryLog, openMemoryLog } from '../../../src/log/index.ts';
import { partitionOf } from '../../../src/log/woven/partition-of.ts';
import { WovenLog } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, seeded, simulatedHub } from '../../hub/simulation.ts';
import { message } from '../messages.ts';

const partitions = 3;
const all = filterSet(['#']);

/** A topic in each partition. */
const [one, two, three] = Array.from({ length: partitions }, (_, p) => {
  for (let i = 0; ; i++) if (partitionOf(`topic/${i}`, partitions) === p) return `topic/${i}`;
}) as [string, string, string];

describe('a log woven out of three partitions', () => {
  let clock: SimulatedClock;
  let shared: MemoryLog[];
  let log: WovenLog;
  let hub: Hub;

  beforeEach(() => {
    clock = new SimulatedClock();
    shared = Array.from({ length: partitions }, () =>
      openMemoryLog({ clock: clock.forLog, keep: { rules: [{ filter: 'table/#', lastPerKey: true }] } }),
    );
    open();
  });

  afterEach(() => log.close());

  /** As another node on the same partitions, or this one after a restart. */
  function open(): void {
    log = new WovenLog(shared);
    hub = simulatedHub(log, clock, seeded(1));
  }

  async function publish(topic: string, data = '1', fields = {}): Promise<Appended> {
    clock.ms += 1000;
    const [result] = await log.append([message(topic, data, fields)], 'fsync');
    if ('error' in result!) throw result.error;
    return result!;
  }

  /** Reads as a subscriber does; what is told is said in between. */
  async function follow(request: { cursor?: string; from?: string }, filters = all): Promise<string[]> {
    const start = await hub.resolveStart(filters, { cursor: request.cursor, from: request.from });
    const told: string[] = start.jump === undefined ? [] : [start.jump.type];
    const reader = hub.follow(filters, start.jump?.to ?? start.at, start.snapshot, start.told);
    for (let atHead = false; !atHead; ) {
      const read = await reader.read(300);
      if (read.gap !== undefined) told.push('gap');
      told.push(...read.records.map(named));
      ({ atHead } = read);
    }
    last = hub.tokens.of(reader.offset, reader.time);
    return told;
  }
  let last: string;

  const named = ({ topic, partitionOffset }: LogRecord): string => `${topic}@${partitionOffset}`;

  async function code(promise: Promise<unknown>): Promise<string | undefined> {
    const error: unknown = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return isTailraceError(error) ? error.code : undefined;
  }

  test('what a publisher is told names the partition; who begins there repeats, and misses nothing', async () => {
    await publish(one);
    await publish(two);
    clock.ms += 60_000;
    const third = await publish(two);
    expect([third.offset, third.partition, third.duplicate]).toEqual([2, 1, false]);
    await publish(one);
    await publish(three);
    open();
    expect(await follow({ cursor: hub.tokens.ofAppended(third) })).toEqual([`${one}@2`, `${three}@1`]);
  });

  test('history of before the start, then what comes; a cursor in the middle of it is good at any node', async () => {
    for (let i = 0; i < 4; i++) for (const topic of [one, two, three]) await publish(topic);
    open();
    const everything = await follow({ from: 'earliest' });
    expect(everything).toHaveLength(12);
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    const reader = hub.follow(all, start.at);
    const got: string[] = [];
    for (let i = 0; i < 3; i++) got.push(...(await reader.read(300)).records.map(named));
    const cursor = hub.tokens.of(reader.offset, reader.time);
    open();
    await publish(two);
    got.push(...(await follow({ cursor })));
    expect(got.toSorted()).toEqual([...everything, `${two}@5`].toSorted());
  });

  test('a quiet partition of which all is older than the time asked for lacks nothing', async () => {
    await publish(one);
    clock.ms += 600_000;
    await publish(two);
    await publish(two);
    await shared[0]!.trim(1);
    open();
    expect(await follow({ from: '-5m' })).toEqual([`${two}@1`, `${two}@2`]);
    expect(await follow({ from: '-20m' })).toEqual(['gap', `${two}@1`, `${two}@2`]);
    await shared[1]!.trim(1);
    expect(await follow({ from: '-5m' })).toEqual(['gap', `${two}@2`]);
  });

  test('what a partition has lost for good is told to who reads the newest first', async () => {
    for (let i = 0; i < 3; i++) for (const topic of [one, two]) await publish(topic);
    (shared[1] as { lost: readonly { from: number; to: number }[] }).lost = [{ from: 2, to: 2 }];
    await publish(three);
    open();
    const { places } = log;
    const begin = await hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    expect(places.lostBetween(begin.at.offset, log.head.offset)).toBeGreaterThan(begin.at.offset);
    expect(places.lostBetween(begin.at.offset, log.head.offset)).toBeLessThanOrEqual(log.head.offset);
    expect(places.lostBetween(log.head.offset, log.head.offset)).toBeUndefined();
  });

  test('retention is told where it has taken something, by partition', async () => {
    for (let i = 0; i < 6; i++) for (const topic of [one, two]) await publish(topic);
    open();
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    const cursor = hub.tokens.of(start.at.offset, start.at.time);
    await shared[1]!.trim(4);
    expect(await follow({ from: 'earliest' }, filterSet([two]))).toEqual(['gap', `${two}@5`, `${two}@6`]);
    expect(await follow({ cursor }, filterSet([two]))).toEqual(['gap', `${two}@5`, `${two}@6`]);
    // what is on its way is told when it comes by
    const reader = hub.follow(all, start.at);
    const told: string[] = [];
    for (let atHead = false; !atHead; ) {
      const read = await reader.read(200);
      if (read.gap !== undefined) told.push('gap');
      told.push(...read.records.map(named));
      ({ atHead } = read);
    }
    expect(told.filter(text => text === 'gap')).toHaveLength(1);
    expect(told.filter(text => text !== 'gap')).toEqual([
      ...[1, 2, 3, 4, 5, 6].map(i => `${one}@${i}`),
      `${two}@5`,
      `${two}@6`,
    ]);
  });

  test('the newest of each topic, then what follows; whoever stops in the middle misses nothing', async () => {
    for (const topic of [one, two, three]) for (let i = 0; i < 3; i++) await publish(topic);
    open();
    await publish(one);
    expect((await follow({ from: 'last' })).toSorted()).toEqual([`${one}@4`, `${two}@3`, `${three}@3`].toSorted());
    expect(await follow({ cursor: last })).toEqual([]);
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'last' });
    const reader = hub.follow(all, start.at, start.snapshot);
    const first = (await reader.read(1)).records.map(named);
    expect(first).toHaveLength(1);
    const poll = hub.tokens.within(reader.offset, reader.time, reader.snapshotTo ?? start.snapshot!.to.offset);
    const stream = hub.tokens.of(reader.offset, reader.time);
    open();
    await publish(three);
    const rest = [`${one}@4`, `${two}@3`, `${three}@3`, `${three}@4`].filter(text => !first.includes(text));
    expect(await follow({ cursor: poll })).toEqual(expect.arrayContaining(rest));
    expect(await follow({ cursor: stream })).toEqual(expect.arrayContaining(rest));
  });

  test('tables, keys and expectations are those of the partition', async () => {
    const topics = Array.from({ length: 6 }, (_, i) => `table/${i}`);
    for (const topic of topics) for (const key of ['a', 'b', 'a']) await publish(topic, JSON.stringify(key), { key });
    await publish(topics[0]!, '', { key: 'b' });
    const { to, offsets } = await log.current(all);
    const current = await log.recordsAt(offsets, 1_000_000);
    expect(current.map(({ topic, key }) => `${topic} ${key}`).toSorted()).toEqual(
      topics.flatMap((topic, i) => (i === 0 ? [`${topic} a`] : [`${topic} a`, `${topic} b`])),
    );
    expect(to.offset).toBe(log.head.offset);
    const [record] = await log.recordsAt(Float64Array.of(await log.keyAt('table/3', 'a')), 1);
    const { offset } = await publish('table/3', '"c"', { key: 'a', expect: record!.partitionOffset });
    const [refused] = await log.append(
      [message('table/3', '"d"', { key: 'a', expect: record!.partitionOffset })],
      'fsync',
    );
    expect(refused).toMatchObject({ error: { code: 'expect_failed' } });
    const [published] = await hub.publisher.publish([
      message('table/3', '"d"', { key: 'a', expect: record!.partitionOffset }),
    ]);
    expect(published).toMatchObject({ error: { current: { offset, topic: 'table/3', data: 'c' } } });
  });

  test('a request for several partitions is answered in its order, up to its first failure', async () => {
    await publish(two, '1', { end: true });
    const results = await log.append(
      [message(one), message(three), message(one), message(two), message(three)],
      'fsync',
    );
    expect(results).toMatchObject([
      { offset: 1, partition: 0 },
      { offset: 1, partition: 2 },
      { offset: 2, partition: 0 },
      { error: { code: 'topic_ended' } },
    ]);
    expect(results).toHaveLength(4);
    expect(
      await code(
        log.append([message(two)], 'fsync').then(([result]) => Promise.reject((result as { error: Error }).error)),
      ),
    ).toBe('topic_ended');
  });

  test('an end is an end where it is read, whichever way leads there', async () => {
    await publish(two);
    await publish(two, '1', { end: true });
    await publish(one);
    open();
    const set = filterSet([two]);
    const start = await hub.resolveStart(set, { cursor: undefined, from: 'earliest' });
    expect(hub.haveEnded(set, start.at.offset)).toBe(false);
    const reader = hub.follow(set, start.at);
    await reader.read(1);
    expect(hub.haveEnded(set, reader.offset)).toBe(false);
    await reader.read(1);
    expect(hub.haveEnded(set, reader.offset)).toBe(true);
    expect(hub.haveEnded(set, log.head.offset)).toBe(true);
  });

  test('deleted topics are gone from memory and from history, and told', async () => {
    await publish(two);
    await publish(one);
    open();
    const before = await hub.resolveStart(all, { cursor: undefined, from: 'now' });
    await publish(two);
    await publish(three);
    expect(await log.deleteTopic(two)).toMatchObject({ upTo: { offset: 2, partition: 1 } });
    expect(await follow({ from: 'earliest' })).toEqual(expect.arrayContaining([`${one}@1`, `${three}@1`]));
    expect(await follow({ from: 'earliest' })).not.toEqual(expect.arrayContaining([`${two}@1`]));
    const cursor = hub.tokens.of(before.at.offset, before.at.time);
    expect(await follow({ cursor })).toEqual(['gap', `${three}@1`]);
    expect(await follow({ cursor }, filterSet([three]))).toEqual([`${three}@1`]);
    await publish(two);
    expect(await follow({ cursor: last })).toEqual([`${two}@3`]);
  });

  test('a time leads into every partition', async () => {
    for (let i = 0; i < 5; i++) for (const topic of [one, two, three]) await publish(topic);
    open();
    const since = clock.now() - 4500;
    expect((await follow({ from: new Date(since).toISOString() })).toSorted()).toEqual(
      [`${one}@5`, `${two}@4`, `${two}@5`, `${three}@4`, `${three}@5`].toSorted(),
    );
  });

  test('stretches between two cursors, forwards and backwards', async () => {
    for (let i = 0; i < 4; i++) for (const topic of [one, two, three]) await publish(topic);
    open();
    await publish(one);
    await publish(two);
    const begin = await hub.resolveStart(all, { cursor: undefined, from: new Date(clock.now() - 9500).toISOString() });
    const end = await hub.resolveStart(all, { cursor: undefined, from: new Date(clock.now() - 2500).toISOString() });
    const [from, to] = log.places.between(begin.at.offset, end.at.offset);
    const forwards: string[] = [];
    const reader = hub.reader(all, { offset: from, time: 0 });
    while (reader.offset < to) forwards.push(...(await reader.read(300, to)).records.map(named));
    const { records } = await newestFirst(log, all, from, to, 100, () => false);
    expect(records.map(named).toReversed()).toEqual(forwards);
    expect(forwards).toHaveLength(7);
    const whole = await newestFirst(log, all, begin.at.offset, log.head.offset, 100, () => false);
    expect(whole.records.map(named).toSorted()).toEqual(
      (await follow({ cursor: hub.tokens.of(begin.at.offset, 0) })).toSorted(),
    );
    expect(whole.records).toHaveLength(10);
  });

  test('cursors of other logs, and places that it cannot name', async () => {
    await publish(one);
    const other: Log = openMemoryLog({ clock: clock.forLog });
    const foreign = other.tokens.of(7, clock.now() - 60_000);
    expect(await hub.resolveStart(all, { cursor: foreign, from: undefined })).toMatchObject({
      recovered: false,
      jump: { type: 'reset', reason: 'epoch' },
    });
    const mine = hub.tokens.of(log.head.offset, log.head.time);
    expect(other.tokens.resolve(mine)).toMatchObject({ fits: false, reason: 'epoch' });
    const ahead = mine.replace(/O1/, 'O9');
    expect(await hub.resolveStart(all, { cursor: ahead, from: undefined })).toMatchObject({
      recovered: false,
      jump: { type: 'reset', reason: 'ahead' },
    });
    expect(await code(Promise.resolve().then(() => hub.resolveStart(all, { cursor: undefined, from: '@7' })))).toBe(
      'bad_request',
    );
    await other.close();
  });
});
