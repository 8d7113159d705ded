import { checkMessage } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { type Log, openDiskLog } from '../../src/log/index.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { NotingOutlet, weightyEncoding } from './noting-outlet.ts';
import { Guest, SimulatedRoom } from './simulated-room.ts';
import { seeded, settle } from './simulation.ts';

const MiB = 1024 * 1024;
const recordCount = 8000;
const readerCount = 1000;

/** A log of 4 MB, nearly all of it below the hot tail; counts the reads that are under way. */
async function coldLog(): Promise<{ readonly log: Log; readonly reads: { now: number; most: number } }> {
  const backing = await openDiskLog({ directory: temporaryDirectory(), hotBytes: 100_000 });
  const payload = Buffer.from(`"${'x'.repeat(300)}"`);
  for (let i = 0; i < recordCount; i += 500)
    await backing.append(
      Array.from({ length: 500 }, (_, k) => checkMessage(`t/${(i + k) % 16}`, payload, {})),
      'written',
    );
  const reads = { now: 0, most: 0 };
  const read = async (...args: Parameters<Log['read']>): ReturnType<Log['read']> => {
    reads.most = Math.max(reads.most, ++reads.now);
    try {
      return await backing.read(...args);
    } finally {
      reads.now--;
    }
  };
  const log = new Proxy<Log>(backing, {
    get(target, name) {
      if (name === 'read') return read;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
  return { log, reads };
}

/** One that begins behind `start`, and resumes by its last cursor when it is cut. */
class ColdReader {
  readonly room: SimulatedRoom;
  readonly start: number;
  readonly offsets: number[] = [];
  outlet!: NotingOutlet;
  guest!: Guest;

  constructor(room: SimulatedRoom, start: number) {
    this.room = room;
    this.start = start;
  }

  async open(): Promise<void> {
    const { room, offsets, start } = this;
    this.outlet = new NotingOutlet(0);
    this.guest = new Guest(room.hub.openSession('test', this.outlet, weightyEncoding, room.owner), this.outlet);
    await room.join(['#'], { cursor: room.cursor(offsets.at(-1) ?? start), on: this.guest });
  }

  /** Takes what its outlet holds; what a cut one had not taken comes again. */
  async goOn(room: number): Promise<void> {
    if (this.guest.session.closed) return this.open();
    this.offsets.push(...this.outlet.offsets.splice(0));
    this.outlet.drain(room);
  }

  check(): void {
    expect(this.offsets).toHaveLength(recordCount - this.start);
    expect(this.offsets.findIndex((offset, i) => offset !== this.start + 1 + i)).toBe(-1);
    expect(this.outlet.gaps).toEqual([]);
  }
}

describe('a thousand that read on from different places of a long history', () => {
  const open = async (room: SimulatedRoom): Promise<ColdReader[]> => {
    const readers = Array.from({ length: readerCount }, (_, i) => new ColdReader(room, 4 * i + 3));
    for (const reader of readers) await reader.open();
    return readers;
  };

  const rest = async (room: SimulatedRoom, readers: readonly ColdReader[], pinnedMax: number): Promise<void> => {
    const idle = ({ guest: { session } }: ColdReader): boolean =>
      session.closed || session.lagging || session.apart.length === 0;
    while (!readers.every(idle)) {
      room.clock.turn();
      await settle(1);
      expect(room.hub.catchUp.pinnedBytes).toBeLessThanOrEqual(pinnedMax);
    }
  };

  it('hold no more than pinned.max, are read for eight at a time, and get everything', async () => {
    const pinnedMax = MiB;
    const { log, reads } = await coldLog();
    const room = new SimulatedRoom({ log, pinnedMax });
    const readers = await open(room);
    await rest(room, readers, pinnedMax);
    const { cuts } = room.owner;
    expect(cuts.length).toBeGreaterThan(100);
    expect(cuts.every(reason => reason === 'pinned')).toBe(true);
    const random = seeded(3);
    for (let round = 0; round < 5; round++) {
      for (const reader of readers) if (random.int(2) === 0) await reader.goOn(0);
      await rest(room, readers, pinnedMax);
    }
    while (readers.some(({ offsets }) => offsets.at(-1) !== recordCount)) {
      for (const reader of readers) await reader.goOn(Number.POSITIVE_INFINITY);
      await rest(room, readers, pinnedMax);
    }
    for (const reader of readers) reader.check();
    expect(reads.most).toBe(8);
    expect(room.hub.catchUp.pinnedBytes).toBe(0);
    await room.close();
  });

  it('come to read the same blocks', async () => {
    const pinnedMax = 100 * MiB;
    const { log } = await coldLog();
    const room = new SimulatedRoom({ log, pinnedMax });
    const readers = await open(room);
    await rest(room, readers, pinnedMax);
    const held = (): number => new Set(readers.map(({ guest }) => guest.session.pinned)).size;
    expect(held()).toBe(readerCount);
    const before = room.hub.catchUp.pinnedBytes;
    for (let round = 0; round < 4; round++) {
      for (const reader of readers) await reader.goOn(0);
      await rest(room, readers, pinnedMax);
    }
    // a block is 128 records here, and they stand within 4,000 of each other
    expect(held()).toBeLessThan(40);
    expect(room.hub.catchUp.pinnedBytes).toBeLessThan(before / 8);
    // also when they are out of step
    const random = seeded(5);
    for (let round = 0; round < 4; round++) {
      for (const reader of readers) if (random.int(2) === 0) await reader.goOn(0);
      await rest(room, readers, pinnedMax);
    }
    expect(held()).toBeLessThan(40);
    while (readers.some(({ offsets }) => offsets.at(-1) !== recordCount)) {
      for (const reader of readers) await reader.goOn(Number.POSITIVE_INFINITY);
      await rest(room, readers, pinnedMax);
    }
    for (const reader of readers) reader.check();
    await room.close();
  });
});
