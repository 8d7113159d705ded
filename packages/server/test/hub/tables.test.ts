import { checkMessage, filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { type Log, openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import { until } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { NotingOutlet, weightyEncoding } from './noting-outlet.ts';
import { Guest, SimulatedRoom } from './simulated-room.ts';
import { seeded } from './simulation.ts';

const MiB = 1024 * 1024;
const keep = { rules: [{ filter: 'stock/#', lastPerKey: true }] } as const;
const payload = Buffer.from(`"${'x'.repeat(1000)}"`);

interface Change {
  readonly name: string;
  readonly deletes: boolean;
}

/** Sets and deletes random keys, and remembers what each offset did. */
class Changing {
  log: Log;
  readonly changes: Change[] = [];
  readonly #random: ReturnType<typeof seeded>;

  constructor(log: Log, seed: number) {
    this.log = log;
    this.#random = seeded(seed);
  }

  async some(count: number, keys: number, deleting = 4): Promise<void> {
    const chosen = Array.from({ length: count }, () => {
      const key = `k${this.#random.int(keys)}`;
      const topic = `stock/${this.#random.int(3)}`;
      return { topic, key, name: `${topic} ${key}`, deletes: this.#random.int(deleting) === 0 };
    });
    const results = await this.log.append(
      chosen.map(({ topic, key, deletes }) => checkMessage(topic, deletes ? Buffer.alloc(0) : payload, { key })),
      'written',
    );
    for (const [i, result] of results.entries()) {
      if ('error' in result) throw result.error;
      this.changes[result.offset] = chosen[i]!;
    }
  }

  /** What who got these offsets in this order holds: of each key the newest. */
  stateOf(offsets: readonly number[]): Map<string, number> {
    const state = new Map<string, number>();
    for (const offset of offsets) {
      const { name, deletes } = this.changes[offset]!;
      if (deletes) state.delete(name);
      else state.set(name, offset);
    }
    return state;
  }

  get state(): Map<string, number> {
    return this.stateOf(this.changes.flatMap((change, offset) => (change === undefined ? [] : [offset])));
  }
}

const logs: [string, () => Promise<Log>][] = [
  ['in memory', () => Promise.resolve(openMemoryLog({ keep, hotBytes: 64 * MiB }))],
  [
    'on disk',
    () => openDiskLog({ keep, directory: temporaryDirectory(), hotBytes: 64 * 1024, segmentBytes: 256 * 1024 }),
  ],
];

describe.each(logs)('subscribers of a table %s', (_, openLog) => {
  it('that read slowly hold its state in the end, while keys come, change and go', async () => {
    const random = seeded(3);
    const room = new SimulatedRoom({ log: await openLog() });
    const changing = new Changing(room.log, 5);
    for (let i = 0; i < 20; i++) await changing.some(50, 400);
    const outlets: NotingOutlet[] = [];
    for (let round = 0; round < 120; round++) {
      if (round < 30) {
        const outlet = new NotingOutlet(1000);
        outlets.push(outlet);
        const guest = new Guest(room.hub.openSession('test', outlet, weightyEncoding, room.owner), outlet);
        await room.join(['stock/#'], { from: 'last', on: guest });
      }
      await changing.some(20, 400, 2);
      for (const outlet of outlets) if (random.int(3) === 0) outlet.drain(random.int(60_000));
      await room.run();
    }
    for (const outlet of outlets) outlet.drain(Number.POSITIVE_INFINITY);
    while (outlets.some(({ offsets }) => offsets.at(-1) !== changing.changes.length - 1)) await room.run();
    for (const { offsets, gaps, live } of outlets) {
      expect(gaps).toEqual([]);
      // in order, so nothing came twice
      expect(offsets.every((offset, i) => i === 0 || offset > offsets[i - 1]!)).toBe(true);
      expect(changing.stateOf(offsets)).toEqual(changing.state);
      expect(live).toBeDefined();
      // a table, and not all that ever happened to it
      expect(offsets.length).toBeLessThan(changing.changes.length * 0.9);
    }
    await room.close();
  });

  it('that come together read one list, and each then what changed since', async () => {
    const room = new SimulatedRoom({ log: await openLog() });
    const changing = new Changing(room.log, 6);
    await changing.some(500, 200, 1e9);
    const set = filterSet(['stock/#']);
    const first = await room.hub.newest.now(set, undefined);
    await changing.some(10, 200);
    expect(await room.hub.newest.now(set, undefined)).toBe(first);
    expect((await room.hub.newest.exact(set)).to.offset).toBe(510);
    await changing.some(200, 200);
    const later = await room.hub.newest.now(set, undefined);
    expect(later.to.offset).toBe(710);
    // who began with the first goes on with it
    expect(await room.hub.newest.of(set, first.snapshot)).toBe(first);
    await room.close();
  });

  it('that go on after the list was dropped miss no deletion', async () => {
    const room = new SimulatedRoom({ log: await openLog() });
    const changing = new Changing(room.log, 7);
    await changing.some(300, 100, 1e9);
    const set = filterSet(['stock/#']);
    const list = await room.hub.newest.now(set, undefined);
    const got = [...list.offsets].slice(0, 20);
    await changing.some(300, 100, 2);
    // lists of many other filters take its place
    for (let i = 0; i < 40_000; i++) await room.hub.newest.now(filterSet([`other/${i}`]), undefined);
    const remade = await room.hub.newest.of(set, list.snapshot);
    expect(remade).not.toBe(list);
    expect(remade.to).toEqual(list.to);
    got.push(...remade.offsets.slice(remade.indexAfter(got.at(-1)!)));
    for (let offset = list.to.offset + 1; offset < changing.changes.length; offset++) got.push(offset);
    expect(changing.stateOf(got)).toEqual(changing.state);
    await room.close();
  });
});

it.each([1, 2, 3, 4, 5, 6])(
  'a reader that comes back by cursor after each restart holds the table (seed %i)',
  async seed => {
    const random = seeded(seed);
    const directory = temporaryDirectory();
    const set = filterSet(['stock/+']);
    let changing: Changing | undefined;
    let cursor: string | undefined;
    const got: number[] = [];
    for (let run = 0; run < 6; run++) {
      const log = await openDiskLog({ keep, directory, hotBytes: 32 * 1024, segmentBytes: 128 * 1024 });
      const room = new SimulatedRoom({ log });
      changing ??= new Changing(log, seed);
      changing.log = log;
      if (run === 0) for (let i = 0; i < 10; i++) await changing.some(50, 100);
      const { at, jump, snapshot } = await room.hub.resolveStart(set, {
        cursor,
        from: cursor === undefined ? 'last' : undefined,
      });
      expect(jump).toBeUndefined();
      const reader = room.hub.reader(set, at, snapshot);
      // in the last run to the end, else it stops somewhere, in the first perhaps within the snapshot
      for (let step = random.int(12); run === 5 || step > 0; step--) {
        if (step > 0) await changing.some(random.int(20) + 1, 100, 2);
        const { records, gap, atHead } = await reader.read(random.int(20_000));
        expect(gap).toBeUndefined();
        got.push(...records.map(({ offset }) => offset));
        cursor = room.hub.tokens.of(reader.offset, reader.time);
        if (run === 5 && step <= 0 && atHead && records.length === 0) break;
      }
      await room.close();
    }
    expect(got.every((offset, i) => i === 0 || offset > got[i - 1]!)).toBe(true);
    expect(changing!.stateOf(got)).toEqual(changing!.state);
  },
);

it('slow readers of a table that is compacted meanwhile hold it in the end', async () => {
  const random = seeded(9);
  const log = await openDiskLog({
    keep,
    directory: temporaryDirectory(),
    hotBytes: 16 * 1024,
    segmentBytes: 64 * 1024,
  });
  const room = new SimulatedRoom({ log });
  const changing = new Changing(log, 9);
  for (let i = 0; i < 20; i++) await changing.some(50, 150);
  const outlets: NotingOutlet[] = [];
  let dropped = 0;
  for (let round = 0; round < 40; round++) {
    if (round < 20) {
      const outlet = new NotingOutlet(1000);
      outlets.push(outlet);
      const guest = new Guest(room.hub.openSession('test', outlet, weightyEncoding, room.owner), outlet);
      await room.join(['stock/#'], { from: 'last', on: guest });
    }
    await changing.some(20, 150, 2);
    if (round % 4 === 0) dropped += (await log.compact()).records;
    for (const outlet of outlets) if (random.int(3) === 0) outlet.drain(random.int(40_000));
    await room.run();
  }
  for (const outlet of outlets) outlet.drain(Number.POSITIVE_INFINITY);
  while (outlets.some(({ offsets }) => offsets.at(-1) !== changing.changes.length - 1)) await room.run();
  expect(dropped).toBeGreaterThan(500);
  for (const { offsets } of outlets) {
    expect(offsets.every((offset, i) => i === 0 || offset > offsets[i - 1]!)).toBe(true);
    expect(changing.stateOf(offsets)).toEqual(changing.state);
  }
  await room.close();
});

it.each([
  ['in memory', () => Promise.resolve(openMemoryLog({ keep, hotBytes: 64 * MiB }))],
  [
    'on disk',
    () => openDiskLog({ keep, directory: temporaryDirectory(), hotBytes: 64 * 1024, segmentBytes: 256 * 1024 }),
  ],
] as const)(
  'the policy `last` leaves who lags the newest of each key of a table, deletions among them (%s)',
  async (_, open) => {
    const lagRules = [{ filter: '#', policy: 'last', after: 5000 }] as const;
    const room = new SimulatedRoom({ log: await open(), lagRules, stallMax: 1e9 });
    const changing = new Changing(room.log, 11);
    await changing.some(200, 50);
    const guest = await room.join(['stock/#'], { from: 'earliest' });
    await until('all is read', () => {
      room.clock.turn();
      return guest.offsets().length === 200;
    });
    guest.outlet.room = 10;
    for (let i = 0; i < 20; i++) {
      await changing.some(100, 50);
      await room.run();
    }
    room.clock.advance(10_000);
    guest.outlet.drain(Number.POSITIVE_INFINITY);
    await until('it is at the head', () => {
      room.clock.turn();
      return guest.offsets().at(-1) === room.log.head.offset;
    });
    expect(changing.stateOf(guest.offsets())).toEqual(changing.state);
    // most of what came meanwhile was skipped
    expect(guest.offsets().length).toBeLessThan(200 + 1200);
    await room.close();
  },
);
