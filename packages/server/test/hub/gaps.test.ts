import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { SimulatedRoom } from './simulated-room.ts';
import { chainedEncoding, plainEncoding } from './simulation.ts';

/** A log that holds about eight of the records of `flood`. */
const shortLog = 3000;

/** Records of another topic, so many that the log forgets all before them. */
async function flood(room: SimulatedRoom): Promise<void> {
  for (let i = 0; i < 30; i++) {
    await room.publish('busy', `"${'x'.repeat(200)}"`);
    await room.run();
  }
}

describe('a gap is not told to one for whom nothing was trimmed', () => {
  it.each([chainedEncoding, plainEncoding])('whose outlet was busy when its record came ($name)', async encoding => {
    const room = new SimulatedRoom({}, shortLog);
    const guest = await room.join(['quiet'], { encoding, room: 500 });
    const first = await room.publish('quiet');
    await room.run();
    await flood(room);
    expect(room.log.floor).toBeGreaterThan(first);
    guest.session.notice({ type: 'pong', ref: 'x'.repeat(1000), time: 1 });
    expect(guest.session.lagging).toBe(true);
    const next = await room.publish('quiet');
    await room.run();
    expect(guest.session.apart).toHaveLength(1);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap')).toEqual([]);
    expect(guest.offsets()).toEqual([first, next]);
    await room.close();
  });

  it('who shares an outlet with one for whom much was', async () => {
    const room = new SimulatedRoom({}, shortLog);
    const guest = await room.join(['quiet'], { sub: 'quiet', room: 500 });
    await room.join(['busy'], { sub: 'busy', on: guest });
    const first = await room.publish('quiet');
    await room.run();
    await flood(room);
    const next = await room.publish('quiet');
    await room.run();
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.offsets('quiet')).toEqual([first, next]);
    expect(guest.frames('gap')).toMatchObject([{ sub: 'busy', reason: 'trimmed' }]);
    await room.close();
  });

  it('who came ahead of a quiet cohort and is live since', async () => {
    for (const encoding of [chainedEncoding, plainEncoding]) {
      const room = new SimulatedRoom({}, shortLog);
      const member = await room.join(['quiet'], { encoding });
      for (let i = 0; i < 3; i++) await room.publish('busy');
      const ahead = await room.join(['quiet'], { encoding, cursor: room.cursor(2) });
      await room.run();
      expect(ahead.frames('live')).toHaveLength(1);
      await flood(room);
      const offset = await room.publish('quiet');
      await room.run();
      for (const guest of [member, ahead]) {
        expect(guest.frames('gap')).toEqual([]);
        expect(guest.offsets()).toEqual([offset]);
      }
      await room.close();
    }
  });

  it.each([0, 1, 2])('who has not taken what it was given for long, with %i more pending', async pending => {
    const room = new SimulatedRoom({ heartbeat: 1000 }, shortLog);
    const guest = await room.join(['quiet'], { room: 10 });
    const offsets = [await room.publish('quiet')];
    await room.run();
    expect(guest.session.lagging).toBe(true);
    await flood(room);
    await room.pass(3000); // a heartbeat of its cohort finds it so
    expect(guest.session.apart).toHaveLength(1);
    await flood(room);
    for (let i = 0; i < pending; i++) offsets.push(await room.publish('quiet'));
    await room.run();
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap')).toEqual([]);
    expect(guest.offsets()).toEqual(offsets);
    expect(guest.session.apart).toEqual([]);
    await room.close();
  });

  it('who came up to the head by itself and has not taken that for long', async () => {
    const room = new SimulatedRoom({}, shortLog);
    const guest = await room.join(['quiet'], { room: 10 });
    const offsets = [await room.publish('quiet')];
    await room.run();
    offsets.push(await room.publish('quiet'));
    await room.run();
    guest.outlet.drain(10);
    await room.run();
    expect(guest.offsets()).toEqual(offsets);
    expect([guest.session.lagging, guest.session.apart.length]).toEqual([true, 1]);
    await flood(room);
    offsets.push(await room.publish('quiet'));
    await room.run();
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap')).toEqual([]);
    expect(guest.offsets()).toEqual(offsets);
    await room.close();
  });

  it('whom the policy `last` concerns, but for whom nothing came meanwhile', async () => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const room = new SimulatedRoom({ lagRules, heartbeat: 1000 });
    const guest = await room.join(['quiet'], { room: 10 });
    await room.publish('quiet');
    await room.run();
    await flood(room);
    await room.pass(10_000);
    expect(guest.session.apart).toHaveLength(1);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    expect(guest.frames('gap')).toEqual([]);
    expect(guest.session.apart).toEqual([]);
    await room.close();
  });
});

describe('a gap is told to one for whom something was trimmed', () => {
  it('before it could take it', async () => {
    const room = new SimulatedRoom({ heartbeat: 1000 }, shortLog);
    const guest = await room.join(['quiet'], { room: 10 });
    const first = await room.publish('quiet');
    await room.run();
    await flood(room);
    await room.pass(3000);
    const lost = await room.publish('quiet');
    await flood(room);
    expect(room.log.floor).toBeGreaterThan(lost);
    const last = await room.publish('quiet');
    await room.run();
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await room.run();
    const [gap] = guest.frames('gap');
    expect(gap).toMatchObject({ reason: 'trimmed' });
    expect(parseCursor(gap!.cursor as string).offset).toBeGreaterThanOrEqual(lost);
    expect(guest.offsets()).toEqual([first, last]);
    await room.close();
  });
});

it('those for whom nothing came leave nothing behind when they go', async () => {
  const room = new SimulatedRoom({ heartbeat: 1000 });
  const stays = await room.join(['quiet']);
  for (let i = 0; i < 20; i++) {
    const guest = await room.join(['quiet'], { room: 10 });
    await room.publish('quiet');
    await room.run();
    await room.publish('other');
    await room.pass(3000);
    expect(guest.session.apart).toHaveLength(1);
    room.leave(guest);
  }
  const cohort = [...room.hub.cohorts.values()][0]!;
  expect(cohort.size).toBe(1);
  expect(cohort.apart.size).toBe(0);
  expect(cohort.resting).toBe(0);
  room.leave(stays);
  await room.close();
});
