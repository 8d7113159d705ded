import { filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { type Log, openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { until } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { type Guest, SimulatedRoom } from './simulated-room.ts';
import { chainedEncoding, plainEncoding } from './simulation.ts';

const keep = { rules: [{ filter: 'table', lastPerKey: true }] } as const;
const logs: [string, () => Promise<Log>][] = [
  ['memory', () => Promise.resolve(openMemoryLog({ clock: new ManualClock(), keep }))],
  [
    'disk, all of it in the hot tail',
    () => openDiskLog({ directory: temporaryDirectory(), clock: new ManualClock(), keep }),
  ],
  [
    'disk, nothing in the hot tail',
    () => openDiskLog({ directory: temporaryDirectory(), clock: new ManualClock(), keep, hotBytes: 1 }),
  ],
];

async function arrives(room: SimulatedRoom, guest: Guest, count: number): Promise<void> {
  await room.run();
  await until(`${count} records`, () => {
    room.clock.turn();
    return guest.offsets().length >= count && guest.frames('live').length > 0;
  });
}

describe.each(logs)('a topic deleted for good from a log in %s', (_, open) => {
  it.each([chainedEncoding, plainEncoding])('is told to who lags behind it, and never sent ($name)', async encoding => {
    const room = new SimulatedRoom({ log: await open() });
    for (let i = 0; i < 20; i++) await room.publish(i % 2 === 0 ? 'n' : 'm', `"${'x'.repeat(200)}"`);
    const guest = await room.join(['+'], { encoding, cursor: room.cursor(0), room: 10 });
    await room.run();
    await until('it lags', () => {
      room.clock.turn();
      return guest.session.lagging;
    });
    const got = guest.offsets();
    await room.log.deleteTopic('n');
    await room.publish('n', '"new"');
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await until('it is at the head', () => {
      room.clock.turn();
      return guest.offsets().includes(21);
    });
    // what was encoded before is the outlet's already
    const later = guest.offsets().slice(got.length);
    for (let offset = 2; offset <= 20; offset += 2) expect(guest.offsets()).toContain(offset);
    const deleted = guest.offsets().filter(offset => offset % 2 === 1 && offset < 20).length;
    if (deleted < 10) expect(guest.frames('gap')).toHaveLength(1);
    expect(new Set(later).size).toBe(later.length);
    await room.close();
  });

  it('is not given out of a block that was kept for others', async () => {
    const room = new SimulatedRoom({ log: await open() });
    for (let i = 0; i < 10; i++) await room.publish(i % 2 === 0 ? 'n' : 'm', `"${i}"`);
    const first = await room.join(['+'], { from: 'earliest' });
    await arrives(room, first, 10);
    await room.log.deleteTopic('n');
    const second = await room.join(['+'], { from: 'earliest' });
    await arrives(room, second, 5);
    expect(second.offsets()).toEqual([2, 4, 6, 8, 10]);
    expect(second.frames('gap')).toHaveLength(1);
    const third = await room.join(['+'], { from: 'last' });
    await arrives(room, third, 1);
    expect(third.offsets()).toEqual([10]);
    // who was there at the time hears nothing
    expect(first.frames('gap')).toEqual([]);
    await room.close();
  });

  it('is told to a pull, in the middle of it as well', async () => {
    const room = new SimulatedRoom({ log: await open() });
    for (let i = 0; i < 10; i++) await room.publish(i % 2 === 0 ? 'n' : 'm', `"${i}"`);
    const reader = room.hub.reader(filterSet(['#']), { offset: 0, time: 0 });
    expect((await reader.read(1)).records).toMatchObject([{ offset: 1 }]);
    await room.log.deleteTopic('n');
    const { records, gap } = await reader.read(1e6);
    expect(gap).toMatchObject({ offset: 1 });
    expect(records.map(({ offset }) => offset)).toEqual([2, 4, 6, 8, 10]);
    expect(await reader.read(1e6)).toMatchObject({ records: [], gap: undefined });
    await room.close();
  });

  it('resets who has read of a table', async () => {
    const room = new SimulatedRoom({ log: await open() });
    await room.publish('table', '1', { key: 'a' });
    await room.publish('table', '2', { key: 'b' });
    await room.log.deleteTopic('table');
    await room.publish('table', '3', { key: 'c' });
    const guest = await room.join(['table'], { cursor: room.cursor(1) });
    await arrives(room, guest, 1);
    expect(guest.frames('reset')).toMatchObject([{ reason: 'compacted' }]);
    expect(guest.offsets()).toEqual([3]);
    const fresh = await room.join(['table'], { from: 'last' });
    await arrives(room, fresh, 1);
    expect(fresh.offsets()).toEqual([3]);
    await room.close();
  });
});
