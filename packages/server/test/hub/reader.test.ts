import { filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import type { Reader } from '../../src/hub/index.ts';
import { SimulatedRoom } from './simulated-room.ts';
import { settle } from './simulation.ts';

const never = new AbortController().signal;

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  void promise.then(() => (pending = false));
  await settle(2);
  return pending;
}

const open = (room: SimulatedRoom, filters: string[], offset = 0): Reader =>
  room.hub.reader(filterSet(filters), { offset, time: 0 });

describe('a reader', () => {
  it('reads on in steps of about maxBytes and says when it is at the head', async () => {
    const room = new SimulatedRoom();
    for (let i = 0; i < 10; i++) await room.publish(i % 2 === 0 ? 'a' : 'b', `"${'x'.repeat(1000)}"`);
    const reader = open(room, ['a']);
    const first = await reader.read(2000);
    expect(first.records.map(record => record.offset)).toEqual([1, 3]);
    expect(first.atHead).toBe(false);
    expect(reader.offset).toBe(3);
    const rest = await reader.read(1_000_000);
    expect(rest.records.map(record => record.offset)).toEqual([5, 7, 9]);
    expect(rest.atHead).toBe(true);
    expect(reader.offset).toBe(10);
    expect(reader.time).toBe(room.log.head.time);
    await room.close();
  });

  it('waits until something matches', async () => {
    const room = new SimulatedRoom();
    const reader = open(room, ['a/#']);
    const waiting = reader.wait(never);
    await room.publish('b');
    expect(await isPending(waiting)).toBe(true);
    await room.publish('a/x');
    expect(await isPending(waiting)).toBe(false);
    expect(room.hub.index.filterCount).toBe(0);
    const { records } = await reader.read(1000);
    expect(records.map(record => record.offset)).toEqual([2]);
    await room.close();
  });

  it('does not wait for what was committed between its last read and its wait', async () => {
    const room = new SimulatedRoom();
    const reader = open(room, ['a']);
    await reader.read(1000);
    await room.publish('a');
    expect(await isPending(reader.wait(never))).toBe(false);
    expect((await reader.read(1000)).records).toHaveLength(1);
    expect(await isPending(reader.wait(AbortSignal.abort()))).toBe(false);
    await room.close();
  });

  it('stops waiting when told to, and leaves nothing behind', async () => {
    const room = new SimulatedRoom();
    const reader = open(room, ['a', 'b/#']);
    const controller = new AbortController();
    const waiting = reader.wait(controller.signal);
    expect(room.hub.index.filterCount).toBe(2);
    controller.abort();
    expect(await isPending(waiting)).toBe(false);
    expect(room.hub.index.filterCount).toBe(0);
    await room.publish('a');
    await room.close();
  });

  it('is woken once by a batch that matches several of its filters', async () => {
    const room = new SimulatedRoom();
    const reader = open(room, ['a', '+', '#', 'a/#']);
    const waiting = reader.wait(never);
    await room.publish('a');
    expect(await isPending(waiting)).toBe(false);
    expect(room.hub.index.filterCount).toBe(0);
    await room.close();
  });

  it('tells a gap when retention was faster', async () => {
    const room = new SimulatedRoom({}, 1000);
    const reader = open(room, ['a']);
    for (let i = 0; i < 20; i++) await room.publish('a');
    const read = await reader.read(100_000);
    expect(read.gap?.offset).toBe(room.log.floor);
    expect(read.records[0]?.offset ?? room.log.floor + 1).toBe(room.log.floor + 1);
    const more = await reader.read(100_000);
    expect([...read.records, ...more.records].at(-1)?.offset).toBe(20);
    await room.close();
  });

  it('tells no gap when what was trimmed while it waited was not for it', async () => {
    const room = new SimulatedRoom({}, 3000);
    const reader = open(room, ['quiet']);
    const offsets = [await room.publish('quiet')];
    await reader.read(1000);
    for (const end of ['woken', 'aborted'] as const) {
      const controller = new AbortController();
      const waiting = reader.wait(controller.signal);
      for (let i = 0; i < 30; i++) await room.publish('busy', `"${'x'.repeat(200)}"`);
      expect(room.log.floor).toBeGreaterThan(reader.offset);
      if (end === 'aborted') controller.abort();
      else offsets.push(await room.publish('quiet'));
      await waiting;
      const { records, gap } = await reader.read(1000);
      expect(gap).toBeUndefined();
      expect(records.map(record => record.offset)).toEqual(end === 'woken' ? [offsets.at(-1)] : []);
      expect(reader.offset).toBe(room.log.head.offset);
      expect(reader.time).toBe(room.log.head.time);
    }
    await room.close();
  });

  it('never misses a message however reads, waits and publishes interleave', async () => {
    const room = new SimulatedRoom();
    const got: number[] = [];
    let done = false;
    const controller = new AbortController();
    const loop = (async () => {
      const reader = open(room, ['a/+']);
      while (!done) {
        const { records, atHead } = await reader.read(500);
        got.push(...records.map(record => record.offset));
        if (atHead) await reader.wait(controller.signal);
      }
    })();
    const sent: number[] = [];
    for (let i = 0; i < 500; i++) {
      const topic = i % 3 === 0 ? 'other' : `a/${i % 5}`;
      const offset = await room.publish(topic);
      if (topic !== 'other') sent.push(offset);
      if (i % 7 === 0) await settle(1);
    }
    await settle(5);
    expect(got).toEqual(sent);
    done = true;
    controller.abort();
    await loop;
    await room.close();
  });
});
