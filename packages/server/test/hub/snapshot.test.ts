import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { SimulatedRoom } from './simulated-room.ts';

describe('a snapshot', () => {
  it('brings the newest of each topic, then what came meanwhile, then `live`', async () => {
    const room = new SimulatedRoom();
    await room.publishEach('a/1', 2);
    await room.publishEach('a/2', 2);
    await room.publishEach('b', 1);
    const guest = await room.join(['a/+'], { from: 'last', room: 10 });
    await room.publishEach('a/1', 2);
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
