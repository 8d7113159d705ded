import { filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import type { Start } from '../../src/hub/start.ts';
import { SimulatedRoom } from './simulated-room.ts';

const all = filterSet(['#']);

/** From now on the log says that it has gone back. */
function rewind({ log }: SimulatedRoom): void {
  Object.defineProperty(log, 'rewinds', { value: log.rewinds + 1, configurable: true });
}

/** What was read of records that are lost must not be passed on under the epoch that the log is in by then. */
describe('a log that goes back while it is read', () => {
  it('tells a reader instead of giving it what was read, and its cursor means nothing any more', async () => {
    const room = new SimulatedRoom();
    await room.publish('a');
    const reader = room.hub.reader(all, { offset: 0, time: 0 });
    const reading = reader.read(1000);
    rewind(room);
    await expect(reading).rejects.toMatchObject({ code: 'log_rewound' });
    expect(reader.isRewound).toBe(true);
    await expect(reader.read(1000)).rejects.toMatchObject({ code: 'log_rewound' });
    await room.close();
  });

  it('keeps no list of what was newest', async () => {
    const room = new SimulatedRoom();
    await room.publish('a');
    const { newest } = room.hub;
    const making = newest.now(all, 1);
    rewind(room);
    await expect(making).rejects.toMatchObject({ code: 'log_rewound' });
    expect(newest.bytes).toBe(0);
    await room.close();
  });

  it('is read anew for a subscription that was about to begin', async () => {
    const room = new SimulatedRoom();
    await room.publish('a');
    const starting = room.hub.resolveStart(all, { cursor: undefined, from: 'last' }) as Promise<Start>;
    rewind(room);
    const { snapshot } = await starting;
    expect(snapshot?.to.offset).toBe(1);
    expect(room.hub.newest.bytes).toBeGreaterThan(0);
    await room.close();
  });

  it('tells who reads what is current', async () => {
    const room = new SimulatedRoom();
    await room.publish('a');
    const reader = await room.hub.state(all, undefined, 0);
    rewind(room);
    await expect(reader.read(1000)).rejects.toMatchObject({ code: 'log_rewound' });
    await room.close();
  });
});
