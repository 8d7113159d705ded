import { checkMessage } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { SimulatedRoom } from './simulated-room.ts';
import { chainedEncoding, plainEncoding } from './simulation.ts';

describe('cohorts', () => {
  it('are told apart by label and filters, whatever characters a label holds', async () => {
    const room = new SimulatedRoom();
    const odd = await room.join(['b'], { sub: 'x\na' });
    const plain = await room.join(['a', 'b'], { sub: 'x' });
    expect(room.hub.cohorts.size).toBe(2);
    const a = await room.publish('a');
    await room.run();
    const b = await room.publish('b');
    await room.run();
    expect(plain.offsets()).toEqual([a, b]);
    expect(odd.offsets()).toEqual([b]);
    await room.close();
  });

  it('never hand a label the records of another, whatever characters it holds', async () => {
    const room = new SimulatedRoom();
    const first = await room.join(['a', 'b'], { sub: 'c' });
    const second = await room.join(['a'], { sub: 'b\nc' });
    const both = await room.log.append(
      [checkMessage('a', Buffer.from('1'), {}), checkMessage('b', Buffer.from('1'), {})],
      'fsync',
    );
    expect(both).toHaveLength(2);
    await room.run();
    expect(first.offsets()).toEqual([1, 2]);
    expect(second.offsets()).toEqual([1]);
    expect(second.received.every(item => item.kind !== 'messages' || item.sub === 'b\nc')).toBe(true);
    await room.close();
  });

  it('never hand a label the class `none` messages of another', async () => {
    const room = new SimulatedRoom();
    const first = await room.join(['a', 'b'], { sub: 'c' });
    const second = await room.join(['b'], { sub: 'c\na' });
    await room.hub.publisher.publish([
      checkMessage('a', Buffer.from('1'), { durability: 'none' }),
      checkMessage('b', Buffer.from('1'), { durability: 'none' }),
    ]);
    await room.run();
    expect(first.volatile()).toEqual([1, 2]);
    expect(second.volatile()).toEqual([2]);
    await room.close();
  });

  it.each([chainedEncoding, plainEncoding])(
    'go on for one that is ahead when the last member leaves ($name)',
    async encoding => {
      const room = new SimulatedRoom();
      const member = await room.join(['a'], { encoding });
      for (let i = 0; i < 5; i++) await room.publish('other');
      const ahead = await room.join(['a'], { encoding, cursor: room.cursor(5) });
      await room.run();
      room.leave(member);
      await room.run();
      const offset = await room.publish('a');
      await room.run();
      expect(ahead.offsets()).toEqual([offset]);
      await room.close();
    },
  );

  it('go on for one that is ahead when the last member unsubscribes in mid-pass', async () => {
    const room = new SimulatedRoom();
    const member = await room.join(['a']);
    await room.publish('a');
    await room.publish('other');
    const ahead = await room.join(['a'], { cursor: room.cursor(2) });
    room.hub.unsubscribe(member.subscriptions[0]!);
    await room.run();
    const offset = await room.publish('a');
    await room.run();
    expect(ahead.offsets()).toEqual([offset]);
    await room.close();
  });

  it('go on for one that came ahead during a pass of class `none`, also when the member then leaves', async () => {
    const room = new SimulatedRoom();
    room.clock.readCost = 1; // 3,000 members are more than one slice
    const members = [];
    for (let i = 0; i < 3000; i++) members.push(await room.join(['a']));
    await room.run();
    await room.publish('other');
    await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
    room.clock.turn();
    room.clock.turn();
    const cohort = [...room.hub.cohorts.values()][0]!;
    expect(cohort.passing).toBe(true);
    const ahead = await room.join(['a'], { cursor: room.cursor(1) });
    room.clock.turn();
    for (const member of members) room.leave(member);
    await room.run();
    const offset = await room.publish('a');
    await room.run();
    expect(ahead.offsets()).toEqual([offset]);
    await room.close();
  });

  it('that fall below the hot tail take those who are ahead along', async () => {
    const room = new SimulatedRoom({}, 2000);
    const member = await room.join(['a']);
    await room.publish('other');
    const ahead = await room.join(['a'], { cursor: room.cursor(1) });
    await room.run();
    const mine = await room.publish('a');
    for (let i = 0; i < 30; i++) await room.publish('other', `"${'x'.repeat(200)}"`);
    expect(room.log.floor).toBeGreaterThan(mine); // no turn until now
    await room.run();
    expect(ahead.frames('gap')).toHaveLength(1); // at once, not with the next message
    room.leave(member);
    const next = await room.publish('a');
    await room.run();
    expect(ahead.offsets()).toEqual([next]);
    await room.close();
  });

  it('begin `now` at the head, though the only other subscriber stalls far behind', async () => {
    const room = new SimulatedRoom();
    const stalled = await room.join(['a'], { room: 10 });
    for (let i = 0; i < 20; i++) {
      await room.publish('a');
      await room.run();
    }
    expect(stalled.session.lagging).toBe(true);
    const fresh = await room.join(['a'], { from: 'now' });
    const offset = await room.publish('a');
    await room.run();
    expect(fresh.start).toBe(20);
    expect(fresh.offsets()).toEqual([offset]);
    stalled.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(stalled.offsets()).toEqual(Array.from({ length: 21 }, (_, i) => i + 1));
    await room.close();
  });

  it('do not look behind to the brake while they announce their cursor', async () => {
    const room = new SimulatedRoom({ lagLimit: 200, heartbeat: 1000 });
    room.clock.readCost = 1;
    for (let i = 0; i < 3000; i++) await room.join(['a']);
    await room.publish('a');
    await room.run();
    await room.pass(3000);
    await room.publish('other');
    let passing = 0;
    for (let i = 0; i < 40; i++) {
      room.clock.advance(250);
      for (let turn = 0; turn < 3; turn++) {
        room.clock.turn();
        if ([...room.hub.cohorts.values()][0]!.passing) passing++;
        expect(room.hub.brake.lag).toBeLessThan(100);
        await room.hub.publisher.publish([checkMessage('other', Buffer.from('1'), {})]);
      }
      await room.run();
    }
    expect(passing).toBeGreaterThan(0);
    await room.close();
  });

  it('do not look behind to the brake while they pass on class `none`', async () => {
    const room = new SimulatedRoom({ lagLimit: 200 });
    room.clock.readCost = 1;
    for (let i = 0; i < 3000; i++) await room.join(['a']);
    await room.publish('a');
    await room.run();
    room.clock.advance(5000);
    await room.run();
    await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
    room.clock.turn();
    expect([...room.hub.cohorts.values()][0]!.passing).toBe(true);
    expect(room.hub.brake.lag).toBeLessThan(100);
    await room.close();
  });

  it('do count as behind what was committed while they announced their cursor', async () => {
    const room = new SimulatedRoom({ heartbeat: 1000 });
    room.clock.readCost = 1;
    for (let i = 0; i < 3000; i++) await room.join(['a']);
    await room.publish('other');
    const cohort = [...room.hub.cohorts.values()][0]!;
    for (let i = 0; i < 20 && !cohort.passing; i++) {
      room.clock.advance(250);
      room.clock.turn();
    }
    expect(cohort.passing).toBe(true);
    await room.publish('a');
    const committed = room.clock.monotonic();
    room.clock.ms += 70;
    room.clock.turn();
    expect(room.hub.brake.lag).toBeGreaterThan(60);
    expect(room.hub.brake.lag).toBeLessThan(room.clock.monotonic() - committed + 1);
    await room.run();
    expect(room.hub.brake.lag).toBe(0);
    await room.close();
  });

  it('move quiet members to the head once a heartbeat, with an unbroken chain', async () => {
    const room = new SimulatedRoom({ heartbeat: 1000 });
    const guest = await room.join(['a']);
    await room.publish('other');
    await room.pass(3000);
    await room.publish('other');
    await room.publish('a');
    await room.run();
    await room.pass(3000);
    const links = guest.received.flatMap(item =>
      item.kind === 'messages'
        ? [[item.after, item.cursor]]
        : item.kind === 'frame' && item.frame.type === 'cursor'
          ? [[item.frame.after, item.frame.cursor]]
          : [],
    );
    expect(links).toEqual([
      [room.cursor(0), room.cursor(1)],
      [room.cursor(1), room.cursor(3)],
    ]);
    await room.close();
  });

  it('tell `live` at once to one who comes ahead of quiet members', async () => {
    for (const encoding of [chainedEncoding, plainEncoding]) {
      const room = new SimulatedRoom();
      await room.join(['a'], { encoding });
      for (let i = 0; i < 3; i++) await room.publish('other');
      const ahead = await room.join(['a'], { encoding, cursor: room.cursor(2) });
      await room.run();
      expect(ahead.frames('live')).toHaveLength(1);
      await room.close();
    }
  });

  it('keep the chain of one whose cursor has another time at the same offset', async () => {
    const room = new SimulatedRoom();
    await room.join(['a']);
    await room.publish('a');
    await room.run();
    await room.publish('other');
    await room.log.trim(1);
    const guest = await room.join(['a'], { cursor: room.cursor(0) }); // the log no longer knows the time of offset 1
    await room.run();
    await room.publish('a');
    await room.run();
    let last: unknown;
    for (const item of guest.received) {
      const link = item.kind === 'frame' ? (item.frame as { after?: string; cursor?: string }) : item;
      if (!('after' in link) || link.after === undefined) continue;
      if (last !== undefined) expect(link.after).toBe(last);
      last = link.cursor;
    }
    expect(guest.offsets()).toEqual([3]);
    await room.close();
  });

  it('say nothing at a heartbeat while the log stands still', async () => {
    const room = new SimulatedRoom({ heartbeat: 1000 });
    const guest = await room.join(['a']);
    await room.pass(5000);
    expect(guest.received).toEqual([]);
    await room.close();
  });

  it('are gone with their last subscription, also in the middle of a pass', async () => {
    const room = new SimulatedRoom();
    room.clock.readCost = 1;
    const guests = [];
    for (let i = 0; i < 3000; i++) guests.push(await room.join(['a']));
    await room.publish('a');
    room.clock.turn();
    expect([...room.hub.cohorts.values()][0]!.passing).toBe(true);
    for (const guest of guests) room.leave(guest);
    expect(room.hub.cohorts.size).toBe(0);
    expect(room.hub.index.filterCount).toBe(0);
    const next = await room.join(['a']);
    await room.run();
    expect(next.received).toEqual([]);
    const offset = await room.publish('a');
    await room.run();
    expect(next.offsets()).toEqual([offset]);
    await room.close();
  });
});

describe('class `none`', () => {
  it('is not kept for who comes later', async () => {
    const room = new SimulatedRoom();
    const stalled = await room.join(['a'], { room: 10 });
    await room.publish('a');
    await room.run();
    await room.publish('a'); // now it is found lagging, and the cohort has no members
    await room.run();
    expect(stalled.session.lagging).toBe(true);
    await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
    await room.run();
    const late = await room.join(['a'], { from: 'now' });
    await room.run();
    expect(late.volatile()).toEqual([]);
    stalled.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(stalled.volatile()).toEqual([]);
    await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
    await room.run();
    expect(late.volatile()).toEqual([2]);
    expect(stalled.volatile()).toEqual([2]);
    await room.close();
  });

  it('goes to each live subscriber once and moves no cursor', async () => {
    const room = new SimulatedRoom();
    const guest = await room.join(['a']);
    await room.publish('a');
    for (let i = 0; i < 3; i++) {
      await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
      if (i === 1) await room.run();
    }
    await room.run();
    const offset = await room.publish('a');
    await room.run();
    expect(guest.volatile()).toEqual([1, 2, 3]);
    expect(guest.offsets()).toEqual([1, offset]);
    const messages = guest.received.filter(item => item.kind === 'messages');
    expect(messages.filter(item => !item.stored).every(item => item.after === undefined)).toBe(true);
    const stored = messages.filter(item => item.stored);
    expect(stored[1]!.after).toBe(stored[0]!.cursor);
    await room.close();
  });

  it('passes by one that lags, and counts what it missed', async () => {
    const room = new SimulatedRoom();
    const lagging = await room.join(['a'], { room: 10 });
    const live = await room.join(['a']);
    await room.publish('a');
    await room.run();
    expect(lagging.session.lagging).toBe(true);
    await room.hub.publisher.publish([checkMessage('a', Buffer.from('1'), { durability: 'none' })]);
    await room.run();
    expect(live.volatile()).toEqual([1]);
    expect(lagging.volatile()).toEqual([]);
    expect(room.hub.deliveries.dropped).toBe(1);
    lagging.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(lagging.volatile()).toEqual([]);
    await room.close();
  });
});
