import { filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { type DiskLog, openDiskLog } from '../../src/log/index.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { until } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { type Guest, SimulatedRoom } from './simulated-room.ts';
import { chainedEncoding, plainEncoding } from './simulation.ts';

const day = 24 * 60 * 60 * 1000;

interface CompactedRoom {
  readonly room: SimulatedRoom;
  readonly log: DiskLog;
  readonly clock: ManualClock;
}

/** A hub over a log on disk that keeps the last two records of `n`, and the last of each key of `t`. */
async function open(): Promise<CompactedRoom> {
  const clock = new ManualClock();
  const log = await openDiskLog({
    directory: temporaryDirectory(),
    clock,
    hotBytes: 1,
    segmentBytes: 4096,
    dedupe: { ids: 0, ageMs: 0 },
    keep: {
      rules: [
        { filter: 'n', last: 2 },
        { filter: 't', lastPerKey: true },
      ],
      tombstoneAgeMs: day,
    },
  });
  return { room: new SimulatedRoom({ log }), log, clock };
}

/** Records of other topics, enough that what came before is sealed. */
async function flood(room: SimulatedRoom): Promise<void> {
  for (let i = 0; i < 60; i++) await room.publish('other', `"${'x'.repeat(100)}"`);
}

async function arrives(room: SimulatedRoom, guest: Guest, count: number): Promise<void> {
  await room.run();
  await until(`${count} records`, () => {
    room.clock.turn();
    return guest.offsets().length >= count && guest.frames('live').length > 0;
  });
}

/** The frames that moved the subscription join, cursor to cursor. */
function chainHolds(guest: Guest): void {
  let cursor: unknown;
  for (const item of guest.received) {
    const frame = (item.kind === 'frame' ? item.frame : item) as { type?: string; after?: unknown; cursor?: unknown };
    if (frame.after !== undefined && cursor !== undefined) expect(frame.after).toBe(cursor);
    cursor = frame.cursor ?? cursor;
  }
}

describe('who resumes across what a rule has dropped', () => {
  it.each([chainedEncoding, plainEncoding])('gets nothing of it from a block that was kept ($name)', async encoding => {
    const { room, log } = await open();
    for (let i = 0; i < 10; i++) await room.publish('n');
    await flood(room);
    const before = await room.join(['n'], { encoding, cursor: room.cursor(3) });
    await arrives(room, before, 7);
    await log.compact();
    const after = await room.join(['n'], { encoding, cursor: room.cursor(3) });
    await arrives(room, after, 2);
    expect(after.offsets()).toEqual([9, 10]);
    expect(after.frames('gap')).toHaveLength(1);
    await room.close();
    await log.close();
  });

  it.each([chainedEncoding, plainEncoding])('is told a gap once, before what is left ($name)', async encoding => {
    const { room, log } = await open();
    for (let i = 0; i < 10; i++) await room.publish('n');
    await flood(room);
    await log.compact();
    expect(await log.droppedAfter(0, filterSet(['n']))).toEqual({ records: 8, deletions: 0 });
    const cursor = room.cursor(3);
    expect(await room.hub.resolveStart(filterSet(['n']), { cursor, from: undefined })).toMatchObject({
      recovered: false,
      jump: { type: 'gap', to: { offset: 3 } },
    });
    const guest = await room.join(['n'], { encoding, cursor });
    await arrives(room, guest, 2);
    expect(guest.offsets()).toEqual([9, 10]);
    expect(guest.frames('gap')).toHaveLength(1);
    expect(guest.frames('reset')).toEqual([]);
    expect(guest.received[0]).toMatchObject({ kind: 'frame', frame: { type: 'gap' } });
    chainHolds(guest);
    await room.close();
  });

  it('is told nothing when it was another topic, or before its cursor', async () => {
    const { room, log } = await open();
    for (let i = 0; i < 10; i++) await room.publish('n');
    await flood(room);
    await log.compact();
    for (const [filter, offset] of [
      ['other', 0],
      ['n', 8],
      ['#', 8],
    ] as const) {
      const set = filterSet([filter]);
      expect(await room.hub.resolveStart(set, { cursor: room.cursor(offset), from: undefined })).toMatchObject({
        recovered: true,
        jump: undefined,
      });
      const guest = await room.join([filter], { cursor: room.cursor(offset) });
      await arrives(room, guest, filter === 'n' ? 2 : 60);
      expect(guest.frames('gap')).toEqual([]);
    }
    await room.close();
  });

  it('is told when it happens while it reads', async () => {
    const { room, log } = await open();
    for (let i = 0; i < 10; i++) await room.publish('n', `"${'x'.repeat(200)}"`);
    await flood(room);
    const guest = await room.join(['n'], { cursor: room.cursor(0), room: 10 });
    await room.run();
    await until('it lags', () => {
      room.clock.turn();
      return guest.session.lagging;
    });
    const got = guest.offsets().length;
    await log.compact();
    for (let i = 0; i < 3; i++) await room.publish('n');
    await flood(room);
    await log.compact();
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await arrives(room, guest, got + 2);
    const offsets = guest.offsets();
    expect(offsets.slice(-2)).toEqual([72, 73]);
    expect(guest.frames('gap')).toHaveLength(1);
    chainHolds(guest);
    await room.close();
  });
});

describe('who resumes across a deletion that is gone', () => {
  it('is reset, since it may hold what was deleted', async () => {
    const { room, log, clock } = await open();
    await room.publish('t', '1', { key: 'a' });
    await room.publish('t', '', { key: 'a' });
    await room.publish('t', '2', { key: 'b' });
    await flood(room);
    await log.compact();
    clock.advance(2 * day);
    await log.compact();
    const guest = await room.join(['t'], { cursor: room.cursor(1) });
    await arrives(room, guest, 1);
    expect(guest.frames('reset')).toMatchObject([{ reason: 'compacted', cursor: room.cursor(2) }]);
    expect(guest.frames('gap')).toEqual([]);
    expect(guest.offsets()).toEqual([3]);
    // one that has nothing yet misses records, but holds nothing that was deleted
    const beginner = await room.join(['t'], { from: 'earliest' });
    await arrives(room, beginner, 1);
    expect(beginner.frames('reset')).toEqual([]);
    expect(beginner.frames('gap')).toHaveLength(1);
    expect(beginner.offsets()).toEqual([3]);
    await room.close();
  });

  it('is reset by a pull as well, and goes on behind it', async () => {
    const { room, log, clock } = await open();
    await room.publish('t', '1', { key: 'a' });
    const reader = room.hub.reader(filterSet(['t']), { offset: 1, time: 0 });
    await room.publish('t', '', { key: 'a' });
    await room.publish('t', '2', { key: 'b' });
    await flood(room);
    await log.compact();
    clock.advance(2 * day);
    await log.compact();
    expect(await reader.read(1000)).toMatchObject({ records: [], reset: { offset: 2 }, atHead: false });
    expect(await reader.read(1000)).toMatchObject({ records: [{ offset: 3 }], gap: undefined, reset: undefined });
    await room.close();
  });
});
