import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { covers } from '../../src/log/filters.ts';
import { range } from '../range.ts';
import { SimulatedRoom } from './simulated-room.ts';

describe('lag rules', () => {
  it('`disconnect` cuts whom it concerns once the time is over', async () => {
    const lagRules = [{ filter: 'a/#', policy: 'disconnect', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules });
    const cut = await room.join(['a/1'], { room: 10 });
    const spared = await room.join(['#'], { room: 10 });
    const live = await room.join(['a/1']);
    await room.publishEach('a/1', 5);
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
      await room.publishEach('a/1', 1);
      await room.publishEach('a/2', 1);
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
    await room.publishEach('a/1', 1);
    expect(slow.offsets().at(-1)).toBe(21);
    await room.close();
  });

  it('`last` does not touch one that reads a replay of its own', async () => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules });
    await room.publishEach('a', 30, 3000);
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
