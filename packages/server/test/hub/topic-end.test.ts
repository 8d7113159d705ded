import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { SimulatedRoom } from './simulated-room.ts';

describe('the end of a topic', () => {
  it('ends a subscription with its last exact topic, live and lagging', async () => {
    const room = new SimulatedRoom();
    const live = await room.join(['a', 'b']);
    const slow = await room.join(['a', 'b'], { room: 10 });
    const wild = await room.join(['#']);
    await room.publishEach('a', 3);
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
    await room.publishEach('a', 2);
    await room.publish('a', '', { end: true });
    const late = await room.join(['a'], { from: 'last' });
    await room.run();
    expect(late.offsets()).toEqual([3]);
    expect(late.frames('end')).toHaveLength(1);
    expect(late.session.subscriptions).toHaveLength(0);
    await room.close();
  });
});
