import { filterSet, isTailraceError } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cursorOf } from '../../../src/gateway/poll-cursor.ts';
import type { Encoding, Hub, HubOptions, Session } from '../../../src/hub/index.ts';
import { type Appended, type Log, type LogRecord, type MemoryLog, openMemoryLog } from '../../../src/log/index.ts';
import { partitionOf } from '../../../src/log/woven/spread.ts';
import { WovenLog, type WovenLogOptions } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, SimulatedOutlet, SimulatedOwner, seeded, settle, simulatedHub } from '../../hub/simulation.ts';
import { message } from '../messages.ts';

const partitions = 3;
const all = filterSet(['#']);

/** A topic in each partition. */
const [one, two, three] = Array.from({ length: partitions }, (_, p) => {
  for (let i = 0; ; i++) if (partitionOf(`topic/${i}`, partitions) === p) return `topic/${i}`;
}) as [string, string, string];

const named = ({ topic, partitionOffset }: LogRecord): string => `${topic}@${partitionOffset}`;

const encoding: Encoding = {
  name: 'test',
  wrap: null,
  body: records => Buffer.from(records.map(record => `${named(record)}\n`).join('')),
  notice: frame => Buffer.from(`${frame.type}\n`),
};

describe('readers of a woven log that are slower than what happens to it', () => {
  let clock: SimulatedClock;
  let shared: MemoryLog[];
  let log: WovenLog;
  let hub: Hub;

  beforeEach(() => {
    clock = new SimulatedClock();
    shared = Array.from({ length: partitions }, () => openMemoryLog({ clock: clock.forLog }));
    open();
  });

  afterEach(() => log.close());

  function open(options: WovenLogOptions = {}, hubOptions: Partial<HubOptions> = {}, seen: readonly Log[] = shared) {
    log = new WovenLog(seen, options);
    hub = simulatedHub(log, clock, seeded(1), hubOptions);
  }

  async function publish(topic: string, data = '1', fields = {}): Promise<Appended> {
    clock.ms += 1000;
    const [result] = await log.append([message(topic, data, fields)], 'fsync');
    if ('error' in result!) throw result.error;
    return result!;
  }

  async function readOn(reader: ReturnType<Hub['follow']>, maxBytes = 300): Promise<string[]> {
    const told: string[] = [];
    for (let reads = 0, atHead = false; !atHead; reads++) {
      if (reads > 1000) throw new Error('it does not get on');
      const read = await reader.read(maxBytes);
      if (read.gap !== undefined) told.push('gap');
      if (read.reset !== undefined) told.push('reset');
      told.push(...read.records.map(named));
      ({ atHead } = read);
    }
    return told;
  }

  async function follow(cursor: string, filters = all): Promise<string[]> {
    const start = await hub.resolveStart(filters, { cursor, from: undefined });
    const told: string[] = start.jump === undefined ? [] : [start.jump.type];
    const reader = hub.follow(filters, start.jump?.to ?? start.at, start.snapshot, start.told);
    return [...told, ...(await readOn(reader))];
  }

  async function run(): Promise<void> {
    for (let i = 0; i < 50; i++) {
      clock.turn();
      await settle(1);
    }
  }

  function subscriber(room: number): { session: Session; outlet: SimulatedOutlet; lines: () => string[] } {
    const outlet = new SimulatedOutlet(room);
    const session = hub.openSession('test', outlet, encoding, new SimulatedOwner(() => hub));
    const lines = (): string[] => Buffer.concat(outlet.bytes).toString().split('\n').slice(0, -1);
    return { session, outlet, lines };
  }

  test('what is current is read page by page: what changes meanwhile follows, in whatever partition', async () => {
    for (const topic of [one, two, three]) await publish(topic);
    const reader = await hub.state(all, undefined, 0);
    expect((await reader.read(1)).map(named)).toEqual([`${one}@1`]);
    expect((await reader.read(1)).map(named)).toEqual([`${two}@1`]);
    await publish(one);
    await hub.state(all, undefined, 0);
    const rest: string[] = [];
    while (!reader.atEnd) rest.push(...(await reader.read(1)).map(named));
    rest.push(...(await follow(hub.tokens.of(reader.to.offset, reader.to.time))));
    expect(rest).toContain(`${one}@2`);
  });

  test('a subscriber from `last` that takes its time gets what changed behind it', async () => {
    for (const topic of [one, two, three]) await publish(topic, 'x'.repeat(70_000));
    const slow = subscriber(15);
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'last' });
    hub.subscribe(slow.session, 's', all, start, () => {});
    await run();
    expect(slow.lines()).toEqual([`${one}@1`, `${two}@1`]);
    await publish(one);
    await hub.resolveStart(all, { cursor: undefined, from: 'last' });
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await run();
    expect(slow.lines()).toEqual([`${one}@1`, `${two}@1`, `${three}@1`, `${one}@2`, 'live']);
  });

  test('who lags too long for the policy `last` gets the newest of each topic, and nothing again', async () => {
    open({}, { lagRules: [{ filter: '#', policy: 'last', after: 5000 }] });
    await publish(two);
    const slow = subscriber(5);
    hub.subscribe(slow.session, 's', all, await hub.resolveStart(all, { cursor: undefined, from: 'now' }), () => {});
    await publish(three);
    await run();
    expect(slow.lines()).toEqual([`${three}@1`]);
    for (const topic of [one, two, one, two]) await publish(topic);
    await run();
    clock.advance(10_000);
    await run();
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await run();
    expect(slow.lines()).toEqual([`${three}@1`, 'gap', `${one}@2`, `${two}@3`, 'live']);
    await publish(one);
    await run();
    expect(slow.lines().slice(5)).toEqual([`${one}@3`]);
  });

  test('who lags so over a table holds the table', async () => {
    const keep = { rules: [{ filter: '#', lastPerKey: true }] } as const;
    shared = Array.from({ length: partitions }, () => openMemoryLog({ clock: clock.forLog, keep }));
    open({}, { lagRules: [{ filter: '#', policy: 'last', after: 5000 }] });
    for (const key of ['a', 'b', 'c']) await publish(two, '1', { key });
    const slow = subscriber(5);
    hub.subscribe(slow.session, 's', all, await hub.resolveStart(all, { cursor: undefined, from: 'now' }), () => {});
    await publish(three);
    await run();
    for (const key of ['a', 'b']) await publish(two, '', { key });
    await publish(two, '2', { key: 'a' });
    await publish(one, '', { key: 'x' });
    await publish(one, '1', { key: 'x' });
    await run();
    clock.advance(10_000);
    await run();
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await run();
    // x was deleted and set anew, a too, b is gone; c is as it was
    expect(slow.lines()).toEqual([
      `${three}@1`,
      'gap',
      ...[`${one}@1`, `${one}@2`, `${two}@4`, `${two}@5`, `${two}@6`],
      'live',
    ]);
  });

  test('retention that takes more of a partition than the way to the weave has leaves the others whole', async () => {
    for (let i = 0; i < 5; i++) for (const topic of [one, two]) await publish(topic);
    open({ hotBytes: 1 });
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    for (let i = 0; i < 3; i++) await publish(one);
    await publish(two);
    await shared[0]!.trim(7);
    const told = await readOn(hub.follow(all, start.at));
    expect(told).toContain('gap');
    expect(told.filter(text => text !== 'gap')).toEqual([
      ...[1, 2, 3, 4, 5].map(i => `${two}@${i}`),
      `${one}@8`,
      `${two}@6`,
    ]);
  });

  test('retention under a reader below the hot tail takes nothing of what other partitions have', async () => {
    open({ hotBytes: 1 });
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'now' });
    for (let i = 0; i < 4; i++) for (const topic of [one, two]) await publish(topic);
    await shared[0]!.trim(3);
    const told = await readOn(hub.follow(all, start.at));
    expect(told.filter(text => text === 'gap')).toHaveLength(1);
    expect(told[0]).toBe('gap');
    expect(told.filter(text => text !== 'gap')).toEqual([`${two}@1`, `${two}@2`, `${two}@3`, `${one}@4`, `${two}@4`]);
    // who asks only for the others is told nothing
    expect(await readOn(hub.follow(filterSet([two]), start.at))).toEqual([1, 2, 3, 4].map(i => `${two}@${i}`));
  });

  test('nor from a subscriber that lags there', async () => {
    open({ hotBytes: 1 });
    const slow = subscriber(5);
    hub.subscribe(slow.session, 's', all, await hub.resolveStart(all, { cursor: undefined, from: 'now' }), () => {});
    await publish(three);
    await run();
    for (let i = 0; i < 4; i++) for (const topic of [one, two]) await publish(topic);
    await shared[0]!.trim(3);
    await run();
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await run();
    expect(slow.lines()).toEqual([
      `${three}@1`,
      'gap',
      ...[1, 2, 3].map(i => `${two}@${i}`),
      `${one}@4`,
      `${two}@4`,
      'live',
    ]);
  });

  test('a cursor of one partition does not tell that all of another is there of which retention took some', async () => {
    const first = await publish(one);
    clock.ms += 60_000;
    for (let i = 0; i < 3; i++) await publish(two);
    const cursor = hub.tokens.ofAppended(first);
    await shared[1]!.trim(2);
    expect(await hub.resolveStart(all, { cursor, from: undefined })).toMatchObject({ recovered: false });
    expect(await follow(cursor)).toEqual(['gap', `${two}@3`]);
    // what was taken long before is nobody's loss
    await shared[1]!.trim(3);
    clock.ms += 60_000;
    const later = await publish(one);
    expect(await hub.resolveStart(all, { cursor: hub.tokens.ofAppended(later), from: undefined })).toMatchObject({
      recovered: true,
      jump: undefined,
    });
  });

  test('a cursor of another node that has come further in a partition than this one knows of skips nothing', async () => {
    for (let i = 0; i < 3; i++) for (const topic of [one, two]) await publish(topic);
    const far = hub.tokens.of(log.head.offset, log.head.time);
    const near = hub.tokens.of(log.head.offset - 1, log.head.time);
    // a broker may hold entries behind the newest record that are none
    const [behind, ...others] = shared;
    const head = await behind!.positionOf(1);
    open(
      {},
      {},
      [behind!, ...others].map((each, p) =>
        p > 0
          ? each
          : new Proxy<Log>(each, {
              get: (target, name) => {
                if (name === 'head') return head;
                const value = Reflect.get(target, name, target) as unknown;
                return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
              },
            }),
      ),
    );
    expect(await follow(far)).not.toContain(`${two}@3`);
    expect(await follow(near)).toEqual([`${two}@3`]);
  });

  test('a snapshot that is read by poll is not taken for read when the log lost what it was as of', async () => {
    for (const topic of [one, two, three]) await publish(topic);
    const { to } = await hub.newest.exact(all);
    const cursor = hub.tokens.within((await log.current(all)).offsets[0]!, log.head.time, to.offset);
    const rest = [`${two}@1`, `${three}@1`];
    expect(await follow(cursor)).toEqual(rest);
    const gone = cursor.replace(/O1(O|\.)/, 'O9$1');
    expect(gone).not.toBe(cursor);
    expect(await follow(gone)).toEqual(['reset', ...rest]);
  });

  test('a partition that is going back holds up nobody', async () => {
    for (let i = 0; i < 3; i++) for (const topic of [one, two]) await publish(topic);
    let isGoingBack = false;
    const back = { ...shared[0]!.head, offset: 1 };
    const seen = new Proxy<Log>(shared[0]!, {
      get: (target, name) => {
        if (name === 'head') return isGoingBack ? back : target.head;
        if (name === 'read')
          return (after: number, to: number, ...rest: [typeof all, number]) =>
            target.read(after, isGoingBack ? Math.max(after, Math.min(to, back.offset)) : to, ...rest);
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
    open({ hotBytes: 1 }, {}, [seen, shared[1]!, shared[2]!]);
    const old = await hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    const young = await hub.resolveStart(all, { cursor: undefined, from: 'now' });
    for (let i = 0; i < 3; i++) for (const topic of [one, two]) await publish(topic);
    isGoingBack = true;
    for (const { at } of [old, young]) {
      const error: unknown = await readOn(hub.follow(all, at)).catch((reason: unknown) => reason);
      expect(isTailraceError(error) ? error.code : error).toBe('log_rewound');
    }
  });

  test('the newest of each topic is read by polls without the history before it', async () => {
    for (let i = 0; i < 4; i++) for (const topic of [one, two, three]) await publish(topic);
    for (const each of shared) await each.trim(2);
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'last' });
    const reader = hub.follow(all, start.at, start.snapshot, start.told);
    expect((await reader.read(1)).records.map(named)).toEqual([`${one}@4`]);
    const poll = cursorOf(hub.tokens, reader);
    const stream = hub.tokens.of(reader.offset, reader.time);
    open();
    await publish(two);
    expect(await follow(poll)).toEqual([`${two}@4`, `${three}@4`, `${two}@5`]);
    // who comes back to a stream gets what is there of the partitions that it had not come to
    expect((await follow(stream)).toSorted()).toEqual(
      [`${two}@3`, `${two}@4`, `${two}@5`, `${three}@3`, `${three}@4`].toSorted(),
    );
  });

  test('a partition that is going back is not looked up for what is current', async () => {
    for (const topic of [one, two]) await publish(topic);
    const seen = [...shared];
    let head = shared[0]!.head;
    seen[0] = new Proxy(shared[0]!, {
      get: (target, name) => {
        if (name === 'head') return head;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
    open({}, {}, seen);
    head = { ...head, offset: 0 };
    for (const promise of [log.current(all), log.newest(all, 1, log.head.offset)]) {
      const error: unknown = await promise.catch((reason: unknown) => reason);
      expect(isTailraceError(error) ? error.code : error).toBe('log_rewound');
    }
  });

  test('when places are given out a second time, all who hold one begin anew', async () => {
    await publish(one);
    const long = { ...shared[0]!.head, offset: 2 ** 40 - 1 };
    open(
      {},
      {},
      shared.map(
        each =>
          new Proxy<Log>(each, {
            get: (target, name) => {
              if (name === 'head') return long;
              const value = Reflect.get(target, name, target) as unknown;
              return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
            },
          }),
      ),
    );
    const { offset } = await log.places.beginning(0);
    const reader = hub.follow(all, { offset, time: 0 });
    const subscribed = subscriber(Number.POSITIVE_INFINITY);
    const seen = new Set<number>();
    let from = offset;
    const to = offset + partitions * long.offset - 1;
    while (log.rewinds === 0) {
      expect(seen.has(from), 'a place is given out again').toBe(false);
      seen.add(from);
      [from] = log.places.between(offset, to);
    }
    expect(seen.size).toBeGreaterThan(300);
    expect(reader.isRewound).toBe(true);
    expect(subscribed.session.closed).toBe(true);
  });
});
