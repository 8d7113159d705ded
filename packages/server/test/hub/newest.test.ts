import { checkMessage, filterSet, parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import type { HubOptions } from '../../src/hub/index.ts';
import { Newest, type NewestList } from '../../src/hub/newest.ts';
import { type Log, openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { NotingOutlet, weightyEncoding } from './noting-outlet.ts';
import { Guest, SimulatedRoom } from './simulated-room.ts';
import { type SimulatedOutlet, seeded, settle } from './simulation.ts';

const MiB = 1024 * 1024;

const topicCount = 20_000;
const payload = Buffer.from(`"${'x'.repeat(1000)}"`);
const random = seeded(7);

class Publishing {
  readonly log: Log;
  /** Topic of each offset. */
  readonly topics: string[] = [''];

  constructor(log: Log) {
    this.log = log;
  }

  async publish(topics: readonly string[]): Promise<void> {
    const results = await this.log.append(
      topics.map(topic => checkMessage(topic, payload, {})),
      'written',
    );
    for (const [i, result] of results.entries()) {
      if ('error' in result) throw result.error;
      this.topics[result.offset] = topics[i]!;
    }
  }

  async some(count: number): Promise<void> {
    await this.publish(Array.from({ length: count }, () => `t/${random.int(topicCount)}`));
  }
}

/** Everything that a subscriber of `t/+` got: a snapshot, `live`, and then every change. */
function check(outlet: NotingOutlet, topics: readonly string[]): void {
  const { offsets, live } = outlet;
  expect(live).toBeDefined();
  expect(outlet.gaps).toEqual([]);
  const newest = new Map<string, number>();
  for (let offset = 1; offset <= live!.offset; offset++) newest.set(topics[offset]!, offset);
  const snapshot = offsets.slice(0, live!.count);
  const got = new Set(snapshot);
  expect(got.size).toBe(snapshot.length);
  expect(snapshot.every((offset, i) => i === 0 || offset > snapshot[i - 1]!)).toBe(true);
  expect([...newest.values()].filter(offset => !got.has(offset))).toEqual([]);
  const after = Array.from({ length: topics.length - 1 - live!.offset }, (_, i) => live!.offset + 1 + i);
  expect(offsets.slice(live!.count)).toEqual(after);
}

describe('fifty subscribers of 20,000 topics that begin with the newest of each and do not read', () => {
  const open = async (log: Log, options: Partial<HubOptions> = {}): Promise<[SimulatedRoom, Publishing]> => {
    const room = new SimulatedRoom({ ...options, log });
    const publishing = new Publishing(log);
    for (let i = 0; i < topicCount; i += 500)
      await publishing.publish(Array.from({ length: 500 }, (_, k) => `t/${i + k}`));
    for (let i = 0; i < 20; i++) await publishing.some(100);
    return [room, publishing];
  };

  const join = async (room: SimulatedRoom): Promise<NotingOutlet> => {
    const outlet = new NotingOutlet(1000);
    const guest = new Guest(room.hub.openSession('test', outlet, weightyEncoding, room.owner), outlet);
    await room.join(['t/+'], { from: 'last', on: guest });
    return outlet;
  };

  const logs: [string, () => Promise<Log>][] = [
    ['in memory', () => Promise.resolve(openMemoryLog({ hotBytes: 64 * MiB }))],
    ['on disk', () => openDiskLog({ directory: temporaryDirectory(), hotBytes: MiB, segmentBytes: 4 * MiB })],
  ];

  it.each(logs)('cost a block and a list, and then get it and all that follows ($0)', async (_, openLog) => {
    const [room, publishing] = await open(await openLog());
    const { hub } = room;
    const outlets: NotingOutlet[] = [];
    for (let i = 0; i < 50; i++) {
      outlets.push(await join(room));
      if (i % 10 === 9) await publishing.some(20);
    }
    const finished = (): boolean => outlets.every(outlet => outlet.live !== undefined);
    const held = { pinned: 0, lists: 0 };
    const step = async (): Promise<void> => {
      await room.run();
      held.pinned = Math.max(held.pinned, hub.catchUp.pinnedBytes);
      held.lists = Math.max(held.lists, hub.newest.bytes);
    };
    while (hub.catchUp.lagging.size < 50) await step();
    for (let i = 0; i < 20; i++) {
      await publishing.some(50);
      await step();
    }
    expect(hub.catchUp.lagging.size).toBe(50);
    // of the gigabyte that they wait for: the first block, from each of the heads at which some of them began
    expect(held.pinned).toBeLessThan(11 * 70_000);
    expect(held.lists).toBeLessThan(topicCount * 8 + 1000);
    for (const { subscriptions } of hub.sessions.values())
      expect(Object.keys(subscriptions[0]!.snapshot!)).toEqual(['count', 'to']);
    for (let round = 0; !finished(); round++) {
      for (const outlet of outlets) if (random.int(4) > 0) outlet.drain(random.int(100_000));
      if (round < 100) await publishing.some(5);
      await step();
    }
    expect(held.pinned).toBeLessThan(50 * 70_000);
    expect(held.lists).toBeLessThan(topicCount * 8 + 1000);
    for (const outlet of outlets) outlet.drain(Number.POSITIVE_INFINITY);
    while (outlets.some(outlet => outlet.offsets.at(-1) !== publishing.topics.length - 1)) await step();
    expect(room.owner.cuts).toEqual([]);
    for (const outlet of outlets) check(outlet, publishing.topics);
    expect(hub.catchUp.pinnedBytes).toBe(0);
    await room.close();
  });

  it('hold as little after the policy `last` made them skip', async () => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const log = openMemoryLog({ hotBytes: 64 * MiB });
    const room = new SimulatedRoom({ log, lagRules, stallMax: 1e9 });
    const { hub } = room;
    const publishing = new Publishing(log);
    const outlets: SimulatedOutlet[] = [];
    for (let i = 0; i < 50; i++) outlets.push((await room.join(['t/+'], { room: 10 })).outlet);
    for (let i = 0; i < topicCount; i += 500) {
      await publishing.publish(Array.from({ length: 500 }, (_, k) => `t/${i + k}`));
      await room.run();
    }
    room.clock.advance(10_000);
    for (const outlet of outlets) outlet.drain(0);
    await room.run();
    expect(hub.catchUp.lagging.size).toBe(50);
    for (const outlet of outlets) outlet.drain(0); // the gap before, now the first block
    await room.run();
    for (const { subscriptions } of hub.sessions.values())
      expect(Object.keys(subscriptions[0]!.snapshot!)).toEqual(['count', 'to']);
    expect(hub.catchUp.pinnedBytes).toBeLessThan(70_000);
    expect(hub.newest.bytes).toBeLessThan(topicCount * 8 + 1000);
    await room.close();
  });
});

describe('a snapshot', () => {
  const publishMany = async (room: SimulatedRoom, topic: string, count: number, bytes = 1): Promise<number> => {
    let last = 0;
    for (let i = 0; i < count; i++) last = await room.publish(topic, `"${'x'.repeat(bytes)}"`);
    return last;
  };

  it('that retention overtakes tells a gap, and what is left is all there', async () => {
    const room = new SimulatedRoom({}, 10 * MiB);
    for (let i = 0; i < 40; i++) await publishMany(room, `a/${i}`, 1, 9000);
    const guest = await room.join(['a/+'], { from: 'last', room: 10 });
    await room.run();
    const [first] = guest.received.flatMap(item => (item.kind === 'messages' ? [item] : []));
    await room.log.trim(20);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap')).toMatchObject([{ reason: 'trimmed', after: first!.cursor }]);
    expect(parseCursor(guest.frames('gap')[0]!.cursor as string).offset).toBe(20);
    const read = first!.offsets.length;
    expect(guest.offsets()).toEqual(Array.from({ length: 40 }, (_, i) => i + 1).filter(n => n <= read || n > 20));
    expect(guest.frames('live')).toHaveLength(1);
    await room.close();
  });

  it('that retention overtakes to its end goes on from there', async () => {
    const room = new SimulatedRoom({}, 10 * MiB);
    for (let i = 0; i < 40; i++) await publishMany(room, `a/${i}`, 1, 9000);
    const guest = await room.join(['a/+'], { from: 'last', room: 10 });
    await room.run();
    const last = await publishMany(room, 'other', 5);
    await room.log.trim(last);
    const offset = await publishMany(room, 'a/3', 1);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap').map(gap => parseCursor(gap.cursor as string).offset)).toEqual([last]);
    const read = guest.offsets().length - 1;
    expect(guest.offsets()).toEqual([...Array.from({ length: read }, (_, i) => i + 1), offset]);
    expect(guest.session.apart).toEqual([]);
    await room.close();
  });

  it('of several records a topic has no hole in any of them', async () => {
    const room = new SimulatedRoom({}, 10 * MiB);
    for (let i = 0; i < 200; i++) await publishMany(room, `a/${i % 10}`, 1, 9000);
    const guest = await room.join(['a/+'], { from: 'last:5', room: 10 });
    await room.run();
    for (let i = 0; i < 10; i++) {
      await publishMany(room, 'a/9', 6, 9000);
      await room.join(['a/+'], { from: 'last:5', room: 10 }); // newer lists of the same filter, without these six
      guest.outlet.drain(10);
      await room.run();
    }
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.offsets()).toEqual(Array.from({ length: 50 + 60 }, (_, i) => 151 + i));
    await room.close();
  });

  it('is the newest at the moment when it was asked for, also while another is being put together', async () => {
    const room = new SimulatedRoom();
    await publishMany(room, 'a', 2);
    const set = filterSet(['a']);
    const lists: (NewestList | Promise<NewestList>)[] = [];
    const asked: number[] = [];
    for (let i = 0; i < 20; i++) {
      lists.push(room.hub.newest.now(set, 1));
      asked.push(room.log.head.offset);
      if (i % 3 === 0) await publishMany(room, 'a', 1);
    }
    for (const [i, list] of (await Promise.all(lists)).entries())
      expect(list.offsets[0]).toBeGreaterThanOrEqual(asked[i]!);
    await room.close();
  });
});

describe('lists of the newest', () => {
  /** A log that answers when it is told to. */
  function slowLog(): { readonly log: Log; readonly answers: (() => void)[]; readonly backing: Log } {
    const backing = openMemoryLog();
    const answers: (() => void)[] = [];
    const newest = (...args: Parameters<Log['newest']>): ReturnType<Log['newest']> =>
      new Promise(resolve => answers.push(() => resolve(backing.newest(...args))));
    const log = new Proxy<Log>(backing, {
      get(target, name) {
        if (name === 'newest') return newest;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
    return { log, answers, backing };
  }

  it('are made two at a time, and one serves all who came before it began', async () => {
    const { log, answers, backing } = slowLog();
    const newest = new Newest(log);
    const set = filterSet(['+']);
    const append = (): Promise<unknown> => backing.append([checkMessage('a', payload, {})], 'fsync');
    const waiting: Promise<NewestList>[] = [];
    for (let i = 1; i <= 50; i++) {
      await append();
      waiting.push(Promise.resolve(newest.now(set, 1)));
    }
    await settle();
    expect(answers).toHaveLength(2);
    for (let at = 0; at < answers.length; at++) {
      answers[at]!();
      await settle();
    }
    expect(answers).toHaveLength(3);
    const made = await Promise.all(waiting);
    expect(made.map(list => list.offsets[0])).toEqual([1, 2, ...Array.from({ length: 48 }, () => 50)]);
    expect(newest.now(set, 1)).toBe(made[49]);
    await backing.close();
  });

  it('of single topics do not wait for those of many', async () => {
    const { log, answers, backing } = slowLog();
    const newest = new Newest(log);
    for (let i = 0; i < 3; i++) void newest.now(filterSet([`${i}/+`]), 1);
    await settle();
    expect(answers).toHaveLength(2);
    const list = newest.now(filterSet(['a']), 1);
    await settle();
    expect(answers).toHaveLength(3);
    answers[2]!();
    expect((await list).offsets).toHaveLength(0);
    await backing.close();
  });

  it('are kept up to 8 MiB, those that were used last', async () => {
    const log = openMemoryLog();
    const topics = 50_000;
    for (let i = 0; i < topics; i += 1000)
      await log.append(
        Array.from({ length: 1000 }, (_, k) => checkMessage(`t/${i + k}`, Buffer.from('1'), {})),
        'written',
      );
    const newest = new Newest(log);
    const sets = Array.from({ length: 40 }, (_, i) => filterSet(['t/+', `other/${i}`]));
    const first = await newest.now(sets[0]!, 1);
    for (const set of sets) {
      await newest.now(set, 1);
      expect(newest.of(sets[0]!, first.snapshot)).toBe(first);
      expect(newest.bytes).toBeLessThanOrEqual(8 * MiB);
    }
    const again = newest.of(sets[1]!, first.snapshot);
    expect(again).toBeInstanceOf(Promise);
    expect((await again).offsets).toEqual(first.offsets);
    await log.close();
  });
});
