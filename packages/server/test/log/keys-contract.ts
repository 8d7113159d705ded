import { filterSet, isTailraceError, type Message } from '@tailrace/protocol';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Log } from '../../src/log/log.ts';
import type { ContractSubject } from './contract.ts';
import { ManualClock } from './manual-clock.ts';
import { message, offsetOf, readAllOf } from './messages.ts';

const keep = {
  rules: [
    { filter: 'stock/log', last: 1000 },
    { filter: 'stock/#', lastPerKey: true },
  ],
} as const;

/** What every implementation of `Log` must do with keys, expectations and tables. */
export function keysContract(name: string, subject: ContractSubject): void {
  describe(`${name} keeps the contract of Log for keys`, () => {
    let clock: ManualClock;
    let log: Log;

    beforeEach(async () => {
      clock = new ManualClock();
      log = await subject.open(clock, { keep });
    });

    afterEach(() => log.close());

    async function append(...messages: Message[]): Promise<number[]> {
      return (await log.append(messages, 'fsync')).map(offsetOf);
    }

    async function currentOf(...filters: string[]): Promise<number[]> {
      const { to, offsets } = await log.current(filterSet(filters));
      expect(to).toEqual(log.head);
      return [...offsets];
    }

    test('what is current is the newest record of each key of a table, and of each other topic', async () => {
      expect(await currentOf('#')).toEqual([]);
      await append(keyed('stock/a', 'x'), keyed('stock/a', 'y'), keyed('stock/log', 'x'), keyed('stock/log', 'y'));
      await append(keyed('stock/a', 'x'), keyed('stock/b', 'x'), message('stock/b'), keyed('prices', 'x'));
      expect(await currentOf('#')).toEqual([2, 4, 5, 6, 7, 8]);
      expect(await currentOf('stock/a')).toEqual([2, 5]);
      expect(await currentOf('stock/a', 'stock/none')).toEqual([2, 5]);
      expect(await currentOf('prices')).toEqual([8]);
      // a deleted key is gone, and so is a deletion
      await append(deletion('stock/a', 'x'), deletion('stock/a', 'never'), message('stock/b'));
      expect(await currentOf('stock/+')).toEqual([2, 4, 6, 11]);
      await append(keyed('stock/a', 'x'));
      expect(await currentOf('stock/a')).toEqual([2, 12]);
      expect(log.tables.mayMatch(filterSet(['prices', 'news/#']))).toBe(false);
      expect(log.tables.mayMatch(filterSet(['+/a']))).toBe(true);
      expect(log.tables.has('stock/log')).toBe(false);
    });

    test('what is current of many tables takes no more memory than keys may, but for one table', async () => {
      await log.close();
      const keyIndexBytes = 20_000;
      log = await subject.open(clock, { keep, keyIndexBytes });
      const tables = 40;
      for (let t = 0; t < tables; t++)
        await append(...Array.from({ length: 50 }, (_, i) => keyed(`stock/${t}`, `key ${i}`)));
      await append(deletion('stock/3', 'key 7'), message('prices'));
      let most = 0;
      let asking = true;
      const current = currentOf('#').finally(() => {
        asking = false;
      });
      while (asking) {
        // some logs answer without a turn of the event loop
        for (let i = 0; i < 20 && asking; i++) {
          most = Math.max(most, log.memory.tableBytes);
          await Promise.resolve();
        }
        await new Promise(resolve => setImmediate(resolve));
      }
      const expected = Array.from({ length: tables * 50 }, (_, i) => i + 1).filter(offset => offset !== 3 * 50 + 8);
      expect(await current).toEqual([...expected, 2002]);
      most = Math.max(most, log.memory.tableBytes);
      expect(most).toBeGreaterThan(0);
      // one table beyond, whoever asked
      expect(most).toBeLessThan(keyIndexBytes + 10_000);
      expect(log.memory.tableBytes).toBeLessThanOrEqual(keyIndexBytes);
    });

    test('asked for as of before, it leaves out what has changed since', async () => {
      await append(keyed('stock/a', 'x'), keyed('stock/a', 'y'), keyed('stock/a', 'z'));
      const before = log.head;
      await append(keyed('stock/a', 'x'), deletion('stock/a', 'y'));
      const { to, offsets } = await log.current(filterSet(['stock/a']), before);
      expect([to, [...offsets]]).toEqual([before, [3]]);
    });

    test('a key is asked for alone, and is absent once its record is gone or deletes it', async () => {
      await append(keyed('a', 'x'), keyed('a', 'y'), keyed('b', 'x'));
      expect(await log.keyAt('a', 'x')).toBe(1);
      expect(await log.keyAt('a', 'z')).toBe(0);
      await append(deletion('a', 'x'));
      expect(await log.keyAt('a', 'x')).toBe(0);
      expect(await log.keyAt('b', 'x')).toBe(3);
    });

    test('an expectation is met or refused with the offset of what is there', async () => {
      expect(await append(expecting('a', 'k', 0))).toEqual([1]);
      expect(await refusal(expecting('a', 'k', 0))).toMatchObject({ topic: 'a', key: 'k', offset: 1 });
      expect(await append(expecting('a', 'k', 1))).toEqual([2]);
      expect(await refusal(expecting('a', 'k', 1))).toMatchObject({ offset: 2 });
      expect(await refusal(expecting('a', 'other', 1))).toBeNull();
      expect(await refusal(expecting('b', 'k', 2))).toBeNull();
      expect(await append(keyed('a', 'k'), expecting('a', 'k', 3))).toEqual([3, 4]);
      expect(log.head.offset).toBe(4);
    });

    test('a deleted key is absent, and a deletion may expect too', async () => {
      await append(keyed('a', 'k'));
      expect(await append({ ...deletion('a', 'k'), expect: 1 })).toEqual([2]);
      expect(await refusal(expecting('a', 'k', 2))).toBeNull();
      expect(await refusal({ ...deletion('a', 'k'), expect: 1 })).toBeNull();
      expect(await append(expecting('a', 'k', 0))).toEqual([3]);
    });

    test('a repeated publish is a duplicate whatever it expects', async () => {
      await append(keyed('a', 'k'));
      const once = { ...expecting('a', 'k', 1), id: 'once' };
      expect(await log.append([once], 'fsync')).toMatchObject([{ offset: 2, duplicate: false }]);
      expect(await log.append([once], 'fsync')).toMatchObject([{ offset: 2, duplicate: true }]);
    });

    test('an array stops at the first expectation that is not met', async () => {
      const results = await log.append([keyed('a', 'k'), expecting('a', 'k', 7), keyed('a', 'k')], 'fsync');
      expect(results).toMatchObject([{ offset: 1 }, { error: { code: 'expect_failed', current: { offset: 1 } } }]);
      expect(log.head.offset).toBe(1);
    });

    test('appends on their way count, in the order of the calls', async () => {
      // the keys of the topic are not known yet: the first has to wait, and the others behind it
      const results = await Promise.all([
        log.append([expecting('a', 'k', 0)], 'fsync'),
        log.append([keyed('a', 'k')], 'fsync'),
        log.append([keyed('b', 'k'), keyed('a', 'other')], 'fsync'),
        log.append([expecting('a', 'k', 0)], 'fsync'),
        log.append([keyed('b', 'last')], 'fsync'),
      ]);
      const records = await readAllOf(log, ['#']);
      const of = (topic: string) => records.filter(record => record.topic === topic).map(({ key }) => key);
      expect(of('a')).toEqual(['k', 'k', 'other']);
      expect(of('b')).toEqual(['k', 'last']);
      expect(results[3]).toMatchObject([{ error: { code: 'expect_failed' } }]);
      const again = await Promise.all([3, 3].map(() => log.append([expecting('b', 'new', 0)], 'fsync')));
      expect(again.map(([result]) => 'error' in result!)).toEqual([false, true]);
    });

    test('an append before the keys were asked for counts although it was not committed yet', async () => {
      const [first, second] = await Promise.all([
        log.append([keyed('a', 'k')], 'fsync'),
        log.append([expecting('a', 'k', 0)], 'fsync'),
      ]);
      expect(first).toMatchObject([{ offset: 1 }]);
      expect(second).toMatchObject([{ error: { code: 'expect_failed', current: { offset: 1 } } }]);
    });

    test('and also when somebody else has read the keys in between', async () => {
      const first = log.append([keyed('a', 'k')], 'fsync');
      await log.keyAt('a', 'k');
      const second = log.append([expecting('a', 'k', 0)], 'fsync');
      expect(await first).toMatchObject([{ offset: 1 }]);
      expect(await second).toMatchObject([{ error: { code: 'expect_failed', current: { offset: 1 } } }]);
    });

    test('closing settles what waits for the keys of its topic', async () => {
      await append(keyed('a', 'k'));
      const appended = log.append([expecting('a', 'k', 1)], 'fsync');
      await log.close();
      expect(await appended).toMatchObject([{ offset: 2 }]);
    });

    test('of many who expect the same exactly one is taken, each round', async () => {
      let newest = 0;
      for (let round = 0; round < 20; round++) {
        const results = await Promise.all(
          Array.from({ length: 16 }, (_, i) =>
            log.append([expecting('stock/a', 'k', newest), keyed('stock/b', `r${round}w${i}`)], 'fsync'),
          ),
        );
        const taken = results.filter(([result]) => !('error' in result!));
        expect(taken).toHaveLength(1);
        newest = offsetOf(taken[0]![0]);
      }
      expect(await log.keyAt('stock/a', 'k')).toBe(newest);
    });

    test.each([
      ['with room for its keys', 64 * 1024 * 1024],
      ['with room for few keys', 400],
      ['without room', 0],
    ])('random publishes, expectations and snapshots agree with a model ($0)', async (_, keyIndexBytes) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async steps => {
          const random = await subject.open(clock, { keep, keyIndexBytes });
          try {
            await play(random, steps);
          } finally {
            await random.close();
          }
        }),
        { numRuns: 25 },
      );
    });

    test('a snapshot and what follows it lead to the state, while keys change', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), fc.nat(19), async (steps, at) => {
          const random = await subject.open(clock, { keep });
          try {
            const model = new Model();
            const run = async (some: readonly Step[]): Promise<void> => {
              for (const { messages } of some) {
                const wanted = messages.map(one => ({ ...one, expects: 'nothing' as const }));
                model.take(await random.append(wanted.map(plainOf), 'fsync'), wanted);
              }
            };
            await run(steps.slice(0, at));
            const asked = random.current(filterSet(['stock/#']));
            const rest = run(steps.slice(at));
            const { to, offsets } = await asked;
            await rest;
            const state = new Map<string, number>();
            // a list that was dropped meanwhile is made again, as of the same moment
            const { offsets: remade } = await random.current(filterSet(['stock/#']), to);
            for (const offset of remade) expect([...offsets]).toContain(offset);
            for (const { topic, key, offset } of await random.recordsAt(remade, 1e9))
              state.set(`${topic} ${key}`, offset);
            for (const record of await readAllOf(random, ['stock/#'], to.offset)) {
              if (record.data.length > 0) state.set(`${record.topic} ${record.key}`, record.offset);
              else state.delete(`${record.topic} ${record.key}`);
            }
            expect(state).toEqual(model.newest);
          } finally {
            await random.close();
          }
        }),
        { numRuns: 25 },
      );
    });

    async function refusal(asked: Message): Promise<unknown> {
      const head = log.head.offset;
      const [result] = await log.append([asked], 'fsync');
      const error = 'error' in result! ? result.error : undefined;
      if (!isTailraceError(error) || error.code !== 'expect_failed') throw new Error(`not refused: ${String(error)}`);
      expect(log.head.offset).toBe(head);
      return error.current;
    }

    /** Appends each step at once, some in parallel; then the log must say what the model says. */
    async function play(random: Log, steps: readonly Step[]): Promise<void> {
      const model = new Model();
      for (const { messages, together } of steps) {
        const asked = messages.map(wanted => model.ask(wanted));
        const results = together
          ? (await Promise.all(asked.map(one => random.append([one], 'fsync')))).flat()
          : await appendEach(random, asked);
        model.take(results, messages);
        for (const key of keys) {
          expect(await random.keyAt('stock/a', key)).toBe(model.newest.get(`stock/a ${key}`) ?? 0);
        }
        const { to, offsets } = await random.current(filterSet(['stock/#']));
        expect(to.offset).toBe(random.head.offset);
        expect([...offsets]).toEqual([...model.newest.values()].sort((a, b) => a - b));
      }
    }
  });
}

const topics = ['stock/a', 'stock/b'];
const keys = ['k', 'l', 'ü'];

interface Wanted {
  readonly topic: string;
  readonly key: string;
  readonly deletes: boolean;
  /** What it expects: nothing, what the model has before the step, or something else. */
  readonly expects: 'nothing' | 'right' | 'wrong';
}

interface Step {
  readonly messages: readonly Wanted[];
  readonly together: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  messages: fc.array(
    fc.record({
      topic: fc.constantFrom(...topics),
      key: fc.constantFrom(...keys),
      deletes: fc.boolean(),
      expects: fc.constantFrom<Wanted['expects'][]>('nothing', 'right', 'wrong'),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  together: fc.boolean(),
});

/** Newest offset of each key that is there. */
class Model {
  readonly newest = new Map<string, number>();

  ask(wanted: Wanted): Message {
    const newest = this.newest.get(`${wanted.topic} ${wanted.key}`) ?? 0;
    const expected = { nothing: undefined, right: newest, wrong: newest + 1 }[wanted.expects];
    return { ...plainOf(wanted), expect: expected };
  }

  /** Takes the results of one append a message, made in this order; checks what became of each expectation. */
  take(results: Awaited<ReturnType<Log['append']>>, messages: readonly Wanted[]): void {
    const before = new Map(this.newest);
    for (const [i, wanted] of messages.entries()) {
      const result = results[i]!;
      const name = `${wanted.topic} ${wanted.key}`;
      if (wanted.expects !== 'nothing') {
        const expected = (before.get(name) ?? 0) + (wanted.expects === 'wrong' ? 1 : 0);
        const newest = this.newest.get(name) ?? 0;
        if ('offset' in result) expect(newest).toBe(expected);
        if ('error' in result) expect(newest).not.toBe(expected);
      }
      if ('error' in result) continue;
      if (wanted.deletes) this.newest.delete(name);
      else this.newest.set(name, result.offset);
    }
  }
}

async function appendEach(log: Log, messages: readonly Message[]): Promise<Awaited<ReturnType<Log['append']>>> {
  const results: Awaited<ReturnType<Log['append']>>[number][] = [];
  for (const one of messages) results.push(...(await log.append([one], 'fsync')));
  return results;
}

function plainOf({ topic, key, deletes }: Wanted): Message {
  return deletes ? deletion(topic, key) : keyed(topic, key);
}

function keyed(topic: string, key: string): Message {
  return message(topic, '1', { key });
}

function deletion(topic: string, key: string): Message {
  return message(topic, '', { key });
}

function expecting(topic: string, key: string, offset: number): Message {
  return message(topic, '1', { key, expect: offset });
}
