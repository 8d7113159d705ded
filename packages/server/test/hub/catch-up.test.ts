import { checkMessage, filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { SimulatedRoom } from './simulated-room.ts';
import { bulkyEncoding, chainedEncoding, plainEncoding, settle } from './simulation.ts';

describe('one that lags', () => {
  it.each([chainedEncoding, plainEncoding])('gets everything in order once it reads again ($name)', async encoding => {
    const room = new SimulatedRoom();
    const slow = await room.join(['a'], { encoding, room: 300 });
    const fast = await room.join(['a'], { encoding });
    await room.publishEach('a', 50, 100);
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
    await room.publishEach('a', 5);
    const written = slow.outlet.bytes.length;
    await room.publishEach('a', 20);
    await room.publishEach('other', 5);
    await room.pass(5000);
    expect(slow.outlet.bytes).toHaveLength(written);
    await room.close();
  });

  it('does not make the brake believe that the server is behind when it comes back', async () => {
    const room = new SimulatedRoom({ lagTarget: 100, lagLimit: 200 });
    room.clock.readCost = 1;
    const slow = await room.join(['a'], { room: 10 });
    await room.publishEach('a', 30, 5000);
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
    await room.publishEach('a', 3);
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
    await room.publishEach('a', 20, 1000);
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
    await room.publishEach('a', 150, 60_000);
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
    await room.publishEach('a/1', 1);
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

describe('several subscriptions on one outlet', () => {
  it('each read on by their own cursor, in turn, and overlap without disturbing each other', async () => {
    const room = new SimulatedRoom();
    const guest = await room.join(['a/#'], { sub: 'all', room: 100 });
    await room.join(['a/1'], { sub: 'one', on: guest });
    await room.join(['a/1', 'a/2'], { sub: 'two', on: guest });
    for (let i = 0; i < 30; i++) await room.publishEach(`a/${i % 3}`, 1);
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
