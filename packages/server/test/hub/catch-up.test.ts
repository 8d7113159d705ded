import { checkMessage, filterSet, parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { covers } from '../../src/hub/catch-up.ts';
import type { Log } from '../../src/log/index.ts';
import { HotTail, openMemoryLog } from '../../src/log/index.ts';
import { SimulatedRoom } from './simulated-room.ts';
import { bulkyEncoding, chainedEncoding, plainEncoding, SimulatedClock, settle } from './simulation.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function publishMany(room: SimulatedRoom, topic: string, count: number, bytes = 1): Promise<void> {
  for (let i = 0; i < count; i++) {
    await room.publish(topic, `"${'x'.repeat(bytes)}"`);
    await room.run();
  }
}

describe('one that lags', () => {
  it.each([chainedEncoding, plainEncoding])('gets everything in order once it reads again ($name)', async encoding => {
    const room = new SimulatedRoom();
    const slow = await room.join(['a'], { encoding, room: 300 });
    const fast = await room.join(['a'], { encoding });
    await publishMany(room, 'a', 50, 100);
    expect(fast.offsets()).toEqual(range(1, 50));
    expect(slow.offsets().length).toBeLessThan(10);
    for (let i = 0; i < 100; i++) {
      slow.outlet.drain(150);
      await room.run();
    }
    expect(slow.offsets()).toEqual(range(1, 50));
    expect(slow.session.apart).toHaveLength(0);
    expect(slow.frames('live')).toHaveLength(1);
    await room.close();
  });

  it('is written nothing but what it asked for until it has finished', async () => {
    const room = new SimulatedRoom({ heartbeat: 1000 });
    const slow = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 5);
    const written = slow.outlet.bytes.length;
    await publishMany(room, 'a', 20);
    await publishMany(room, 'other', 5);
    await room.pass(5000);
    expect(slow.outlet.bytes).toHaveLength(written);
    await room.close();
  });

  it('does not make the brake believe that the server is behind when it comes back', async () => {
    const room = new SimulatedRoom({ lagTarget: 100, lagLimit: 200 });
    room.clock.readCost = 1;
    const slow = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 30, 5000);
    room.clock.advance(30_000);
    await room.run();
    for (let i = 0; i < 60; i++) {
      slow.outlet.drain(1);
      for (let turn = 0; turn < 4; turn++) {
        room.clock.turn();
        expect(room.hub.brake.lag).toBeLessThan(100);
      }
      await settle(1);
    }
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(slow.offsets()).toEqual(range(1, 30));
    await room.close();
  });

  it('is cut when it makes no progress for stall.max, and not before', async () => {
    const room = new SimulatedRoom({ stallMax: 10_000 });
    await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 3);
    await room.pass(9000);
    expect(room.owner.cuts).toEqual([]);
    await room.pass(3000);
    expect(room.owner.cuts).toEqual(['stalled']);
    expect(room.hub.sessions.size).toBe(0);
    expect(room.hub.catchUp.lagging.size).toBe(0);
    expect(room.hub.catchUp.pinnedBytes).toBe(0);
    await room.close();
  });

  it('is not cut while it goes on, however slowly', async () => {
    const room = new SimulatedRoom({ stallMax: 10_000 });
    const slow = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 20, 1000);
    for (let i = 0; i < 20; i++) {
      await room.pass(8000);
      slow.outlet.drain(10);
    }
    expect(room.owner.cuts).toEqual([]);
    await room.close();
  });

  it('is not cut while one large buffer goes on, only once that stops', async () => {
    const room = new SimulatedRoom({ stallMax: 10_000 });
    const slow = await room.join(['a'], { encoding: bulkyEncoding, room: 10 });
    await room.publish('a', `"${'x'.repeat(50_000)}"`);
    await room.run();
    for (let i = 0; i < 20; i++) {
      await room.pass(8000);
      slow.outlet.take(1000);
    }
    await room.pass(9000);
    expect(room.owner.cuts).toEqual([]);
    await room.pass(3000);
    expect(room.owner.cuts).toEqual(['stalled']);
    await room.close();
  });

  it('shares its blocks with all that lag there, and the budget counts each once', async () => {
    const room = new SimulatedRoom({ pinnedMax: 100_000 }, 10_000_000);
    for (let i = 0; i < 50; i++) await room.join(['a'], { encoding: bulkyEncoding, room: 10 });
    await room.publish('a', `"${'x'.repeat(60_000)}"`);
    await room.run();
    expect(room.hub.catchUp.lagging.size).toBe(50);
    expect(room.hub.catchUp.pinnedBytes).toBeLessThan(70_000);
    expect(room.owner.cuts).toEqual([]);
    await room.close();
  });

  it('shares its block however many others were made since', async () => {
    const room = new SimulatedRoom({}, 20_000_000);
    await publishMany(room, 'a', 150, 60_000);
    const stalled = await room.join(['a'], { encoding: bulkyEncoding, from: 'earliest', room: 10 });
    await room.run();
    const { pinnedBytes } = room.hub.catchUp;
    await room.join(['a'], { encoding: bulkyEncoding, from: 'earliest' }); // 9 MB, and 4 MiB are kept
    await room.run();
    const late = await room.join(['a'], { encoding: bulkyEncoding, from: 'earliest', room: 10 });
    await room.run();
    expect(late.session.pinned).toBe(stalled.session.pinned);
    expect(late.session.pinned?.count).toBeGreaterThan(0);
    expect(room.hub.catchUp.pinnedBytes).toBe(pinnedBytes);
    stalled.outlet.drain(Number.POSITIVE_INFINITY);
    late.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(late.offsets()).toEqual(range(1, 150));
    await room.close();
  });

  it('is cut, the oldest block first, when blocks held so exceed pinned.max', async () => {
    const room = new SimulatedRoom({ pinnedMax: 100_000 }, 10_000_000);
    const guests = [];
    for (let i = 0; i < 5; i++) guests.push(await room.join([`a/${i}`], { encoding: bulkyEncoding, room: 10 }));
    for (let i = 0; i < 5; i++) {
      await room.publish(`a/${i}`, `"${'x'.repeat(40_000)}"`);
      await room.run();
    }
    expect(guests.map(guest => guest.session.closed)).toEqual([true, true, true, false, false]);
    expect(room.owner.cuts).toEqual(['pinned', 'pinned', 'pinned']);
    expect(room.hub.catchUp.pinnedBytes).toBeLessThanOrEqual(100_000);
    await room.close();
  });

  it('may be cut by the very block that it was just given, in the middle of a pass', async () => {
    const room = new SimulatedRoom({ pinnedMax: 1000 });
    const guests = [];
    for (let i = 0; i < 9; i++)
      guests.push(await room.join(['a'], { encoding: bulkyEncoding, ...(i % 3 === 1 ? { room: 10 } : {}) }));
    await room.publish('a', `"${'x'.repeat(9000)}"`);
    await room.run();
    for (const [i, guest] of guests.entries()) {
      expect(guest.session.closed).toBe(i % 3 === 1);
      if (i % 3 !== 1) expect(guest.offsets()).toEqual([1]);
    }
    const offset = await room.publish('a');
    await room.run();
    expect(guests[0]!.offsets()).toEqual([1, offset]);
    expect(room.hub.catchUp.pinnedBytes).toBe(0);
    await room.close();
  });
});

describe('one that is far behind', () => {
  it('reads to the same places as others, whatever the head is by then', async () => {
    const room = new SimulatedRoom({}, 100_000_000);
    const many = range(1, 5000).map(i => checkMessage(`a/${i % 7}`, Buffer.from('1'), {}));
    for (let i = 0; i < many.length; i += 100) await room.log.append(many.slice(i, i + 100), 'written');
    const first = await room.join(['a/+'], { encoding: plainEncoding, from: 'earliest' });
    await room.run();
    await publishMany(room, 'a/1', 1);
    const { misses } = room.hub.blocks;
    const second = await room.join(['a/+'], { encoding: plainEncoding, from: 'earliest' });
    await room.run();
    expect(first.offsets()).toEqual(range(1, 5001));
    expect(second.offsets()).toEqual(range(1, 5001));
    // only what lies within the last stretch is encoded anew
    expect(room.hub.blocks.misses - misses).toBeLessThanOrEqual(4);
    await room.close();
  });
});

describe('lag rules', () => {
  it('`disconnect` cuts whom it concerns once the time is over', async () => {
    const lagRules = [{ filter: 'a/#', policy: 'disconnect', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules });
    const cut = await room.join(['a/1'], { room: 10 });
    const spared = await room.join(['#'], { room: 10 });
    const live = await room.join(['a/1']);
    await publishMany(room, 'a/1', 5);
    await room.pass(4000);
    expect(room.owner.cuts).toEqual([]);
    await room.pass(3000);
    expect(room.owner.cuts).toEqual(['lagging']);
    expect([cut, spared, live].map(guest => guest.session.closed)).toEqual([true, false, false]);
    await room.close();
  });

  it('`last` tells the gap and skips to the newest of each topic, then goes on', async () => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules });
    const slow = await room.join(['a/+'], { room: 10 });
    for (let i = 0; i < 10; i++) {
      await publishMany(room, 'a/1', 1);
      await publishMany(room, 'a/2', 1);
    }
    const before = slow.offsets();
    await room.pass(6000);
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(slow.offsets()).toEqual([...before, 19, 20]);
    const [gap] = slow.frames('gap');
    expect(gap).toMatchObject({ reason: 'lagging', sub: 's' });
    expect(parseCursor(gap!.after as string).offset).toBe(before.at(-1));
    expect(parseCursor(gap!.cursor as string).offset).toBe(18);
    await publishMany(room, 'a/1', 1);
    expect(slow.offsets().at(-1)).toBe(21);
    await room.close();
  });

  it('`last` does not touch one that reads a replay of its own', async () => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules });
    await publishMany(room, 'a', 30, 3000);
    const replay = await room.join(['a'], { from: 'earliest', room: 10 });
    for (let i = 0; i < 40; i++) {
      await room.pass(6000);
      replay.outlet.drain(10);
    }
    await room.run();
    expect(replay.frames('gap')).toEqual([]);
    expect(replay.offsets()).toEqual(range(1, 30));
    await room.close();
  });

  it('cover a subscription when they cover each of its filters', () => {
    const cases: [string, string, boolean][] = [
      ['#', '#', true],
      ['a/#', '#', false],
      ['a/#', 'a/+', true],
      ['a/#', 'a', true],
      ['a/+', 'a/b', true],
      ['a/+', 'a/#', false],
      ['a/+', 'a/+', true],
      ['a/+/c', 'a/+/c', true],
      ['a/b', 'a/+', false],
      ['+/b', 'a/b', true],
      ['#', 'a/+/#', true],
      ['a/+/#', 'a/#', false],
      ['a/+/#', 'a/+/b/#', true],
      ['a/#', 'a/#', true],
      ['+/#', '#', true],
      ['#', '$presence/a', false],
    ];
    for (const [rule, filter, expected] of cases) expect(covers(rule, filter), `${rule} ${filter}`).toBe(expected);
  });
});

describe('the end of a topic', () => {
  it('ends a subscription with its last exact topic, live and lagging', async () => {
    const room = new SimulatedRoom();
    const live = await room.join(['a', 'b']);
    const slow = await room.join(['a', 'b'], { room: 10 });
    const wild = await room.join(['#']);
    await publishMany(room, 'a', 3);
    await room.publish('a', '', { end: true });
    await room.run();
    expect(live.frames('end')).toMatchObject([{ topic: 'a', sub: 's' }]);
    expect(live.session.subscriptions).toHaveLength(1);
    await room.publish('b', '', { end: true });
    await room.run();
    expect(live.frames('end')).toHaveLength(2);
    expect(live.session.subscriptions).toHaveLength(0);
    expect(slow.session.subscriptions).toHaveLength(1);
    slow.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(slow.offsets()).toEqual(range(1, 5));
    expect(slow.frames('end')).toHaveLength(2);
    expect(slow.session.subscriptions).toHaveLength(0);
    expect(wild.frames('end')).toEqual([]);
    expect(wild.offsets()).toEqual(range(1, 5));
    await room.close();
  });

  it('ends one that begins with the newest record, when that is the end', async () => {
    const room = new SimulatedRoom();
    await publishMany(room, 'a', 2);
    await room.publish('a', '', { end: true });
    const late = await room.join(['a'], { from: 'last' });
    await room.run();
    expect(late.offsets()).toEqual([3]);
    expect(late.frames('end')).toHaveLength(1);
    expect(late.session.subscriptions).toHaveLength(0);
    await room.close();
  });
});

describe('a snapshot', () => {
  it('brings the newest of each topic, then what came meanwhile, then `live`', async () => {
    const room = new SimulatedRoom();
    await publishMany(room, 'a/1', 2);
    await publishMany(room, 'a/2', 2);
    await publishMany(room, 'b', 1);
    const guest = await room.join(['a/+'], { from: 'last', room: 10 });
    await publishMany(room, 'a/1', 2);
    expect(guest.start).toBe(1);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.offsets()).toEqual([2, 4, 6, 7]);
    expect(guest.received.at(-1)).toMatchObject({ kind: 'frame', frame: { type: 'live' } });
    await room.close();
  });

  it('larger than a block is written in several, with an unbroken chain', async () => {
    const room = new SimulatedRoom({}, 10_000_000);
    for (let i = 0; i < 40; i++) await room.publish(`a/${i}`, `"${'x'.repeat(9000)}"`);
    const guest = await room.join(['a/+'], { from: 'last' });
    await room.run();
    expect(guest.offsets()).toEqual(range(1, 40));
    const messages = guest.received.filter(item => item.kind === 'messages');
    expect(messages.length).toBeGreaterThan(3);
    for (let i = 1; i < messages.length; i++) expect(messages[i]!.after).toBe(messages[i - 1]!.cursor);
    await room.close();
  });

  it('is left out when there is nothing yet', async () => {
    const room = new SimulatedRoom();
    const guest = await room.join(['a'], { from: 'last:5' });
    const offset = await room.publish('a');
    await room.run();
    expect(guest.offsets()).toEqual([offset]);
    await room.close();
  });
});

interface HeldRead {
  readonly after: number;
  answer(): void;
  fail(error: Error): void;
}

/** A log that keeps everything, whose hot tail is short and whose reads below it are answered when the test says so. */
function coldRoom(onReadError: (error: unknown) => void = () => {}): {
  readonly room: SimulatedRoom;
  readonly reads: HeldRead[];
  readonly backing: Log;
} {
  const clock = new SimulatedClock();
  const backing = openMemoryLog({ clock: clock.forLog, hotBytes: 10_000_000 });
  const hot = new HotTail(1500, 0);
  backing.tail({ onCommit: batch => hot.push(batch) });
  const reads: HeldRead[] = [];
  const read = (...args: Parameters<Log['read']>): ReturnType<Log['read']> =>
    new Promise((resolve, reject) => {
      reads.push({ after: args[0], answer: () => resolve(backing.read(...args)), fail: reject });
    });
  const log = new Proxy<Log>(backing, {
    get(target, name) {
      if (name === 'hot') return hot;
      if (name === 'read') return read;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
  return { room: new SimulatedRoom({ log, onReadError }), reads, backing };
}

/** Answers reads until there are none. */
async function answerAll(room: SimulatedRoom, reads: HeldRead[]): Promise<void> {
  for (let i = 0; i < reads.length; i++) {
    reads[i]!.answer();
    await room.run();
  }
}

describe('a read below the hot tail', () => {
  it.each([chainedEncoding, plainEncoding])('is shared by all who stand there ($name)', async encoding => {
    const { room, reads } = coldRoom();
    const guests = [];
    for (let i = 0; i < 5; i++) guests.push(await room.join(['a'], { encoding, room: 10 }));
    await publishMany(room, 'a', 30, 100);
    for (const guest of guests) guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(reads).toHaveLength(1);
    await answerAll(room, reads);
    for (const guest of guests) {
      expect(guest.offsets()).toEqual(range(1, 30));
      expect(guest.session.apart).toHaveLength(0);
    }
    await room.close();
  });

  it('that comes back while its reader is lagging is not written before it has finished', async () => {
    const { room, reads } = coldRoom();
    const guest = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 30, 100);
    guest.outlet.drain(10);
    await room.run();
    expect(reads).toHaveLength(1);
    guest.session.notice({ type: 'pong', time: 1 }); // something else fills the outlet meanwhile
    expect(guest.session.lagging).toBe(true);
    reads[0]!.answer();
    await room.run();
    expect(guest.offsets()).toEqual([1]);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(reads.map(read => read.after)).toEqual([1]); // what was read is kept
    expect(guest.offsets()).toEqual(range(1, 30));
    await room.close();
  });

  it('that is still under way when its reader has lagged and finished is used once', async () => {
    const { room, reads } = coldRoom();
    const guest = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 30, 100);
    guest.outlet.drain(10);
    await room.run();
    guest.session.notice({ type: 'pong', time: 1 });
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(reads).toHaveLength(1);
    reads[0]!.answer();
    await room.run();
    expect(guest.offsets()).toEqual(range(1, 30));
    await room.close();
  });

  it('that finds its beginning trimmed tells the gap, and what is left is all there', async () => {
    const { room, reads, backing } = coldRoom();
    const guest = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 30, 100);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    const cursor = guest.received.flatMap(item => (item.kind === 'messages' ? [item.cursor] : []))[0];
    await backing.trim(12);
    await answerAll(room, reads);
    expect(guest.frames('gap')).toMatchObject([{ reason: 'trimmed', after: cursor, sub: 's' }]);
    expect(parseCursor(guest.frames('gap')[0]!.cursor as string).offset).toBe(12);
    expect(guest.offsets()).toEqual([1, ...range(13, 30)]);
    await room.close();
  });

  it('that comes back after its reader left does nothing', async () => {
    const { room, reads } = coldRoom();
    const guest = await room.join(['a'], { room: 10 });
    await publishMany(room, 'a', 30, 100);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    const written = guest.outlet.bytes.length;
    room.leave(guest);
    reads[0]!.answer();
    await room.run();
    expect(guest.outlet.bytes).toHaveLength(written);
    expect(room.hub.cohorts.size).toBe(0);
    await room.close();
  });

  it('that fails ends the subscription with an error and leaves the others alone', async () => {
    const errors: unknown[] = [];
    const { room, reads } = coldRoom(error => errors.push(error));
    const guest = await room.join(['a'], { room: 10 });
    const other = await room.join(['a']);
    await publishMany(room, 'a', 30, 100);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    reads[0]!.fail(new Error('bad block'));
    await room.run();
    expect(errors).toHaveLength(1);
    expect(guest.frames('error')).toMatchObject([{ sub: 's', code: 'internal' }]);
    expect(guest.session.subscriptions).toHaveLength(0);
    await room.publish('a');
    await room.run();
    expect(other.offsets()).toEqual(range(1, 31));
    await room.close();
  });

  it('does not hold up another subscription of the same session', async () => {
    const { room, reads } = coldRoom();
    const guest = await room.join(['a'], { sub: 'cold', room: 10 });
    await publishMany(room, 'a', 30, 100);
    await room.join(['b'], { sub: 'warm', on: guest });
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(reads).toHaveLength(1);
    const offset = await room.publish('b');
    await room.run();
    expect(guest.offsets('warm')).toEqual([offset]);
    await room.close();
  });
});

describe('several subscriptions on one outlet', () => {
  it('each read on by their own cursor, in turn, and overlap without disturbing each other', async () => {
    const room = new SimulatedRoom();
    const guest = await room.join(['a/#'], { sub: 'all', room: 100 });
    await room.join(['a/1'], { sub: 'one', on: guest });
    await room.join(['a/1', 'a/2'], { sub: 'two', on: guest });
    for (let i = 0; i < 30; i++) await publishMany(room, `a/${i % 3}`, 1);
    for (let i = 0; i < 200; i++) {
      guest.outlet.drain(100);
      await room.run();
    }
    const set = filterSet(['a/1', 'a/2']);
    expect(guest.offsets('all')).toEqual(range(1, 30));
    expect(guest.offsets('one')).toEqual(range(1, 30).filter(offset => (offset - 1) % 3 === 1));
    expect(guest.offsets('two')).toEqual(range(1, 30).filter(offset => set.matches(`a/${(offset - 1) % 3}`)));
    await room.close();
  });
});
