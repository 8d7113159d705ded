import { filterSet, isTailraceError, type Message } from '@tailrace/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Log, nothingDropped } from '../../src/log/log.ts';
import type { CommonLogOptions } from '../../src/log/options.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { ManualClock } from './manual-clock.ts';
import { message, offsetOf, plain, readAllOf } from './messages.ts';

export interface ContractSubject {
  open(clock: ManualClock, options?: CommonLogOptions): Promise<Log>;
  /** Opens what the process that holds this log would leave behind if it were killed now. */
  openLeft(log: Log, clock: ManualClock): Promise<Log>;
}

const everything = filterSet(['#']);

/** What every implementation of `Log` must do: see the contract in src/log/log.ts. */
export function logContract(name: string, subject: ContractSubject): void {
  describe(`${name} keeps the contract of Log`, () => {
    let clock: ManualClock;
    let log: Log;

    beforeEach(async () => {
      clock = new ManualClock();
      log = await subject.open(clock);
    });

    afterEach(() => log.close());

    async function append(...messages: Message[]): Promise<number[]> {
      return (await log.append(messages, 'fsync')).map(offsetOf);
    }

    test('a new log is empty and answers everything', async () => {
      expect(log.id).toMatch(/^[a-z0-9]{4,16}$/);
      expect(log.head).toEqual({ epoch: log.epochOf(1), offset: 0, time: 0 });
      expect(log.floor).toBe(0);
      expect(log.status).toMatchObject({ state: 'open', reason: undefined, pendingRecords: 0, pendingBytes: 0 });
      expect(await log.read(0, 100, everything, 1000)).toEqual({
        after: 0,
        records: [],
        next: 0,
        time: 0,
        dropped: nothingDropped,
      });
      expect(await log.newest(everything, 1, 0)).toEqual(new Float64Array());
      expect(await log.recordsAt(Float64Array.of(1, 2), 1000)).toEqual([]);
      expect(await log.topics('', '', 10)).toEqual([]);
      expect(await log.positionAt(clock.wall)).toEqual(log.head);
      expect(await log.append([], 'fsync')).toEqual([]);
    });

    test('offsets begin at 1 and follow the order of calls; every field comes back', async () => {
      const full = message('a/ü', new Uint8Array([0, 255, 10]), {
        contentType: 'application/octet-stream',
        event: 'made',
        id: 'id-1',
        producer: 'p',
        sequence: 2 ** 53 - 1,
        key: 'schlüssel',
        headers: { 'reply-to': 'b', x: 'ß"\\' },
        by: 'user/1',
        end: true,
      });
      const calls = [append(message('a'), message('b')), append(full), append(message('c', '', { key: 'k' }))];
      expect((await Promise.all(calls)).flat()).toEqual([1, 2, 3, 4]);
      const { durability: _, ...fields } = full;
      const records = await readAllOf(log, ['#']);
      expect(records.map(record => record.topic)).toEqual(['a', 'b', 'a/ü', 'c']);
      const data = Buffer.from(full.data).toString('latin1');
      expect(plain(records[2]!)).toEqual({ ...fields, data, offset: 3, time: clock.wall });
      expect(plain(records[0]!)).toEqual({ ...plain(records[1]!), topic: 'a', offset: 1 });
    });

    test('time never falls although the clock steps back', async () => {
      const start = clock.wall;
      await append(message('a'));
      clock.wall += 5;
      await append(message('a'));
      clock.wall -= 100_000;
      await append(message('a'));
      clock.wall = start + 6;
      await append(message('a'));
      expect((await readAllOf(log, ['a'])).map(record => record.time - start)).toEqual([0, 5, 5, 6]);
      expect(log.head).toEqual({ epoch: log.epochOf(4), offset: 4, time: start + 6 });
    });

    test('a clock that steps removes nothing by age, and a time is never sought too late', async () => {
      const year = 365 * 24 * 60 * 60 * 1000;
      await log.close();
      log = await subject.open(clock, { retention: { age: 60_000, graceMs: 0 } });
      const appendedAt: number[] = [];
      const some = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) {
          clock.advance(100);
          appendedAt.push(clock.wall);
          await append(message('a'));
        }
      };
      await some();
      clock.wall += year;
      await some();
      clock.advance(20_000);
      await log.positionAt(0);
      expect(log.floor).toBe(0);
      clock.wall -= year;
      await some();
      clock.advance(20_000);
      await log.positionAt(0);
      expect(log.floor).toBe(0);
      for (const time of [appendedAt[5]!, appendedAt[25]!, clock.wall]) {
        const { offset } = await log.positionAt(time);
        // what was appended since is all behind it, although it says that it is a year older
        const since = appendedAt.findIndex((at, i) => (i < 10 || i >= 20) && at >= time);
        expect(offset).toBeLessThanOrEqual(since === -1 ? 30 : since);
      }
      const [last] = await log.append([message('a')], 'fsync');
      expect(last).toMatchObject({ offset: 31, time: appendedAt[19] });
    });

    test('a listener sees each batch in order, with the head at its end, before the append resolves', async () => {
      const seen: string[] = [];
      const stop = log.tail({
        onCommit(batch) {
          expect(log.head.offset).toBe(batch.last);
          expect(log.hot.read(batch.first - 1, log.head.offset, everything, 1e9, [])).toBe(log.head.offset);
          for (const record of batch.records()) seen.push(`commit ${record.offset}`);
        },
      });
      const appends = ['a', 'b', 'c'].map(async (topic, i) => {
        await append(message(topic));
        seen.push(`ack ${i + 1}`);
      });
      expect(log.head.offset).toBe(0);
      await Promise.all(appends);
      await append(message('d')).then(() => seen.push('ack 4'));
      expect(seen.filter(event => event.startsWith('commit'))).toEqual([1, 2, 3, 4].map(n => `commit ${n}`));
      for (const n of [1, 2, 3, 4]) expect(seen.indexOf(`commit ${n}`)).toBeLessThan(seen.indexOf(`ack ${n}`));
      stop();
      await append(message('e'));
      expect(seen).not.toContain('commit 5');
    });

    test('written and fsync appends share one order', async () => {
      const results = await Promise.all(
        Array.from({ length: 200 }, (_, i) => log.append([message('a', String(i))], i % 3 === 0 ? 'fsync' : 'written')),
      );
      expect(results.map(([result]) => offsetOf(result))).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
      expect((await readAllOf(log, ['a'])).map(record => Buffer.from(record.data).toString())).toEqual(
        Array.from({ length: 200 }, (_, i) => String(i)),
      );
    });

    test('what its capabilities name outlives the process, and what they do not name is kept while it runs', async () => {
      const { durabilities } = log.capabilities;
      for (const durability of ['fsync', 'written'] as const) {
        const [result] = await log.append([message(durability)], durability);
        expect(offsetOf(result)).toBe(log.head.offset);
      }
      expect(await readAllOf(log, ['#'])).toHaveLength(2);
      const left = await subject.openLeft(log, clock);
      try {
        expect((await readAllOf(left, ['#'])).map(record => record.topic)).toEqual(durabilities);
        // a cursor into a log that kept nothing must not be taken for one of its successor
        expect(left.id === log.id).toBe(durabilities.length > 0);
      } finally {
        await left.close();
      }
    });

    test('a slice holds about maxBytes, at least one record, and says how far the log has been read', async () => {
      await append(...Array.from({ length: 50 }, (_, i) => message(i % 5 === 0 ? 'big' : 'small', 'x'.repeat(500))));
      const first = await log.read(0, 50, filterSet(['big']), 1);
      expect(first.records.map(record => record.offset)).toEqual([1]);
      expect(first.next).toBeLessThan(6);
      const none = await log.read(1, 5, filterSet(['big']), 1000);
      expect(none).toMatchObject({ after: 1, records: [], next: 5 });
      const all = await log.read(0, 1000, filterSet(['big']), 1e9);
      expect(all).toMatchObject({ after: 0, next: 50, time: log.head.time });
      expect(all.records).toHaveLength(10);
      const some = await log.read(0, 50, everything, 3000);
      expect(some.records.length).toBeGreaterThan(2);
      expect(some.records.length).toBeLessThan(9);
      expect(some.next).toBe(some.records[some.records.length - 1]!.offset);
    });

    test('an id is unique per topic; a duplicate of what is on its way waits for the same commit', async () => {
      const [first, second, other] = await Promise.all([
        log.append([message('a', '1', { id: 'x' })], 'fsync'),
        log.append([message('a', '2', { id: 'x' }), message('a', '3')], 'fsync'),
        log.append([message('b', '4', { id: 'x' })], 'fsync'),
      ]);
      expect(first).toMatchObject([{ offset: 1, duplicate: false }]);
      expect(second).toMatchObject([
        { offset: 1, duplicate: true },
        { offset: 2, duplicate: false },
      ]);
      expect(other).toMatchObject([{ offset: 3, duplicate: false }]);
      clock.wall += 1000;
      expect(await log.append([message('a', '5', { id: 'x' })], 'fsync')).toEqual([
        { offset: 1, time: clock.wall - 1000, duplicate: true },
      ]);
      expect(log.head.offset).toBe(3);
    });

    test('producer sequences are taken once, in any order within 1,024 of the highest', async () => {
      const send = async (sequence: number, by?: string) =>
        (await log.append([message('a', '1', { producer: 'p', sequence, by })], 'fsync'))[0]!;
      expect(await send(5)).toMatchObject({ offset: 1, duplicate: false });
      expect(await send(3)).toMatchObject({ offset: 2, duplicate: false });
      expect(await send(5)).toMatchObject({ offset: 1, duplicate: true });
      expect(await send(3)).toMatchObject({ offset: 2, duplicate: true });
      expect(await send(3, 'another')).toMatchObject({ offset: 3, duplicate: false });
      expect(await send(5 + 1023)).toMatchObject({ offset: 4, duplicate: false });
      expect(await send(5)).toMatchObject({ offset: 1, duplicate: true });
      expect(await send(4)).toMatchObject({ offset: 5, duplicate: false });
      const old = await send(2);
      expect('error' in old && isTailraceError(old.error) && old.error.code).toBe('sequence_too_old');
      expect(log.head.offset).toBe(5);
    });

    test('an ended topic takes nothing more, and an array stops there', async () => {
      const results = await log.append(
        [message('a', '1', { end: true }), message('b'), message('a'), message('c')],
        'fsync',
      );
      expect(results).toHaveLength(3);
      expect(results.slice(0, 2).map(offsetOf)).toEqual([1, 2]);
      const failure = results[2]!;
      expect('error' in failure && isTailraceError(failure.error) && failure.error.code).toBe('topic_ended');
      expect(log.head.offset).toBe(2);
      expect(await append(message('c'))).toEqual([3]);
    });

    test('it knows which topics have ended, and where, until that record is gone', async () => {
      for (let i = 0; i < 40; i++) await append(message(`t/${i}`, 'x'.repeat(100)));
      await append(message('a', '1', { end: true }));
      expect([log.endedAt('a'), log.endedAt('t/0'), log.endedAt('never')]).toEqual([41, 0, 0]);
      for (let i = 0; i < 40; i++) await append(message(`t/${i}`, 'x'.repeat(100)));
      await log.trim(log.head.offset - 1);
      expect(log.endedAt('a')).toBe(log.floor >= 41 ? 0 : 41);
    });

    test('trim raises the floor, and reading below it begins there', async () => {
      for (let i = 0; i < 40; i++) await append(message(`t/${i % 2}`, 'x'.repeat(100)));
      await log.trim(20);
      expect(log.floor).toBeLessThanOrEqual(20);
      if (log.capabilities.trims === 'records') expect(log.floor).toBe(20);
      const { floor } = log;
      await log.trim(40);
      expect(log.floor).toBeGreaterThanOrEqual(floor);
      expect(log.floor).toBe(40);
      expect(await log.read(3, 40, everything, 1000)).toEqual({
        after: 40,
        records: [],
        next: 40,
        time: log.head.time,
        dropped: nothingDropped,
      });
      expect(await append(message('a'))).toEqual([41]);
      expect(await log.read(0, 41, everything, 1000)).toMatchObject({ after: 40, next: 41, records: [{ offset: 41 }] });
      await log.trim(10);
      expect(log.floor).toBe(40);
    });

    test('records are read by their offsets; those at the beginning that are gone are left out', async () => {
      for (let i = 0; i < 40; i++) await append(message(`t/${i % 2}`, 'x'.repeat(100)));
      await log.trim(20);
      const at = async (...offsets: number[]): Promise<number[]> =>
        (await log.recordsAt(Float64Array.from(offsets), 100_000)).map(record => record.offset);
      const wanted = [1, 2, 5, 19, 21, 28, 40];
      expect(await at(...wanted)).toEqual(wanted.filter(offset => offset > log.floor));
      expect(await at(39, 41, 50)).toEqual([39]);
      expect(await at(41, 50)).toEqual([]);
      // whatever the budget, who asks gets on
      expect(await log.recordsAt(Float64Array.of(39, 40), 0)).toHaveLength(1);
      await log.trim(40);
      expect(await at(1, 20, 40)).toEqual([]);
      expect(await append(message('a'))).toEqual([41]);
      expect(await at(1, 20, 41)).toEqual([41]);
    });

    test('epochs: the running one ends at the head, unknown ones are undefined', async () => {
      await append(message('a'), message('a'));
      const { epoch } = log.head;
      expect(log.endOf(epoch)).toBe(2);
      expect(log.epochOf(1)).toBe(epoch);
      expect(log.epochOf(3)).toBe(epoch);
      expect(log.endOf(epoch + 1)).toBeUndefined();
      expect(log.endOf(epoch - 1)).toBeUndefined();
    });

    test('what waits is bounded: beyond it an append is refused whole', async () => {
      await log.close();
      log = await subject.open(clock, { pending: { bytes: 10_000, records: 5 } });
      const first = log.append([message('a'), message('a'), message('a'), message('a')], 'fsync');
      await expect(log.append([message('a'), message('a')], 'fsync')).rejects.toMatchObject({ code: 'overloaded' });
      await expect(log.append([message('a', 'x'.repeat(20_000))], 'fsync')).rejects.toMatchObject({
        code: 'overloaded',
      });
      expect((await first).map(offsetOf)).toEqual([1, 2, 3, 4]);
      expect(log.status).toMatchObject({ pendingRecords: 0, pendingBytes: 0 });
      expect(await append(message('b', 'x'.repeat(20_000)))).toEqual([5]);
    });

    test('a record above the limit is refused by name, what stood before it is kept', async () => {
      await log.close();
      log = await subject.open(clock, { recordBytes: 1000 });
      const results = await log.append([message('a'), message('a', 'x'.repeat(2000))], 'fsync');
      expect(offsetOf(results[0])).toBe(1);
      const failure = results[1]!;
      expect('error' in failure && isTailraceError(failure.error) && failure.error.code).toBe('payload_too_large');
    });

    test('close settles what was appended and refuses the rest', async () => {
      const append = log.append([message('a')], 'fsync');
      await log.close();
      expect((await append).map(offsetOf)).toEqual([1]);
      expect(log.status.state).toBe('closed');
      await expect(log.append([message('a')], 'fsync')).rejects.toMatchObject({ code: 'draining' });
    });

    test('reads, newest records, topics and positions agree with a plain list', async () => {
      await fc.assert(
        fc.asyncProperty(history, questions, async (steps, asked) => {
          const clock = new ManualClock();
          const log = await subject.open(clock);
          try {
            const truth = await play(log, clock, steps);
            for (const question of asked) await check(log, clock, truth, question);
          } finally {
            await log.close();
          }
        }),
        { numRuns: 40 },
      );
    });
  });
}

const topicNames = ['a', 'a/b', 'a/b/c', 'a/c', 'b', 'b/c/d', 'ä/ö', '$sys/x', 'long/'.repeat(20).slice(0, -1)];
const filterNames = [
  '#',
  'a/#',
  'a/+',
  '+',
  '+/b/#',
  'b/+/d',
  'nothing/here',
  'nothing/#',
  '$sys/#',
  'ä/+',
  ...topicNames,
];

interface Step {
  readonly topics: readonly number[];
  readonly size: number;
  readonly wait: number;
}

const history: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    topics: fc.array(fc.nat(topicNames.length - 1), { minLength: 1, maxLength: 8 }),
    size: fc.oneof(fc.nat(20), fc.nat(3000)),
    wait: fc.oneof(fc.constant(0), fc.nat(5)),
  }),
  { maxLength: 40 },
);

interface Question {
  readonly filters: readonly string[];
  readonly after: number;
  readonly to: number;
  readonly maxBytes: number;
  readonly count: number;
  readonly time: number;
}

const questions: fc.Arbitrary<Question[]> = fc.array(
  fc.record({
    filters: fc.uniqueArray(fc.constantFrom(...filterNames), { minLength: 1, maxLength: 3 }),
    after: fc.nat(100),
    to: fc.nat(120),
    maxBytes: fc.oneof(fc.constantFrom(0, 1), fc.nat(10_000)),
    count: fc.integer({ min: 1, max: 4 }),
    time: fc.integer({ min: -5, max: 200 }),
  }),
  { minLength: 1, maxLength: 10 },
);

/** Appends the steps; returns the records that must be there. */
async function play(log: Log, clock: ManualClock, steps: readonly Step[]): Promise<LogRecord[]> {
  const truth: LogRecord[] = [];
  const stop = log.tail({ onCommit: batch => void truth.push(...batch.records()) });
  for (const { topics, size, wait } of steps) {
    clock.advance(wait);
    await log.append(
      topics.map(topic => message(topicNames[topic]!, 'x'.repeat(size))),
      'fsync',
    );
  }
  stop();
  expect(truth.map(record => record.offset)).toEqual(truth.map((_, i) => i + 1));
  return truth;
}

async function check(log: Log, clock: ManualClock, truth: readonly LogRecord[], question: Question): Promise<void> {
  const { filters, after, to, maxBytes, count } = question;
  const set = filterSet(filters);
  const start = Math.min(after, truth.length);
  const end = Math.max(start, Math.min(to, truth.length));
  const expected = truth.filter(record => record.offset > start && record.offset <= end && set.matches(record.topic));
  expect((await readAllOf(log, filters, start, end, maxBytes)).map(plain)).toEqual(expected.map(plain));
  const slice = await log.read(start, end, set, maxBytes);
  expect(slice.time).toBe(truth[slice.next - 1]?.time ?? 0);

  const newest = new Map<string, LogRecord[]>();
  for (const record of truth) {
    if (record.offset > to || !set.matches(record.topic)) continue;
    newest.set(record.topic, [...(newest.get(record.topic) ?? []), record].slice(-count));
  }
  const last = [...newest.values()].flat().sort((a, b) => a.offset - b.offset);
  const offsets = await log.newest(set, count, to);
  expect([...offsets]).toEqual(last.map(record => record.offset));
  const records: LogRecord[] = [];
  while (records.length < offsets.length) {
    const some = await log.recordsAt(offsets.subarray(records.length), maxBytes);
    expect(some.length).toBeGreaterThan(0);
    const weight = some.slice(0, -1).reduce((sum, record) => sum + record.weight, 0);
    expect(weight === 0 || weight < maxBytes).toBe(true);
    records.push(...some);
  }
  expect(records.map(plain)).toEqual(last.map(plain));

  const time = clock.wall - 100 + question.time;
  const firstSince = truth.find(record => record.time >= time)?.offset ?? truth.length + 1;
  expect((await log.positionAt(time)).offset).toBe(firstSince - 1);
  const position = await log.positionOf(start);
  expect(position).toEqual({ epoch: log.epochOf(start), offset: start, time: truth[start - 1]?.time ?? 0 });

  const names = [...new Set(truth.map(record => record.topic))].sort((a, b) => (a < b ? -1 : 1));
  const prefix = filters[0]!.split('/')[0]!.replace(/[+#]/, '');
  const expectedTopics = names.filter(name => name.startsWith(prefix) && name > 'a/b').slice(0, count);
  const topics = await log.topics(prefix, 'a/b', count);
  expect(topics.map(info => info.topic)).toEqual(expectedTopics);
  for (const info of topics)
    expect(info.lastOffset).toBe(truth.findLast(record => record.topic === info.topic)!.offset);
}
