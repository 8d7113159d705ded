import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { HotTail, type Log, openMemoryLog } from '../../src/log/index.ts';
import { range } from '../range.ts';
import { SimulatedRoom } from './simulated-room.ts';
import { chainedEncoding, plainEncoding, SimulatedClock } from './simulation.ts';

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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
    await room.publishEach('a', 30, 100);
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
