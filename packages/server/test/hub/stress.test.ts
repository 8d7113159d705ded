import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { checkMessage, type FilterSet, filterSet, parseCursor } from '@tailrace/protocol';
import { afterAll, describe, expect, it } from 'vitest';
import type { Hub, HubOptions, Session, Subscription } from '../../src/hub/index.ts';
import { type Log, openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import {
  chainedEncoding,
  plainEncoding,
  type Received,
  SimulatedClock,
  SimulatedOutlet,
  SimulatedOwner,
  seeded,
  settle,
  simulatedHub,
} from './simulation.ts';

const filterChoices = [
  ['a/0'],
  ['a/1'],
  ['a/+'],
  ['#'],
  ['a/0', 'a/#'],
  ['b/x', 'a/2'],
  ['b/#'],
  ['a/0', 'a/1', 'a/2'],
];
const topics = ['a/0', 'a/1', 'a/2', 'b/x'];

interface Reading {
  readonly sub: string;
  readonly subscription: Subscription;
  readonly set: FilterSet;
  readonly start: number;
  /** How many of the newest of each topic it begins with. */
  readonly newest: number | undefined;
  /** It was told `live` at once. */
  readonly live: boolean;
  /** Buffers that had been written when it was unsubscribed. */
  endedAt: number | undefined;
}

interface Reader {
  readonly outlet: SimulatedOutlet;
  readonly session: Session;
  readonly chained: boolean;
  /** Its outlet takes whatever it is given. */
  readonly fast: boolean;
  readonly readings: Reading[];
}

interface HistoryOptions {
  readonly steps?: number;
  readonly hub?: Partial<HubOptions>;
  /** May retention take records away, or may the policy skip some? Then each loss must have been told. */
  readonly lossy?: 'trim' | 'last';
}

/**
 * Random histories of publishing (stored and class `none`), subscribing, unsubscribing, leaving, stalling, reading on
 * and trimming, with slices that end anywhere: whatever happens, each subscription has seen exactly the matching records
 * beyond its cursor, in order, once (I3), or after `from=last` the newest of each topic, `live`, and all that follows;
 * what it has not seen was told, and nothing is told to one that was live and missed nothing (I4); its chain of cursors
 * never breaks; nothing follows an unsubscribe.
 */
class History {
  readonly random: ReturnType<typeof seeded>;
  readonly clock: SimulatedClock;
  readonly log: Log;
  readonly hub: Hub;
  readonly owner: SimulatedOwner;
  readonly readers: Reader[] = [];
  readonly published: { offset: number; topic: string }[] = [];
  readonly volatileTopics: string[] = [''];
  readonly #o: HistoryOptions;
  readonly #name: string;
  #labels = 0;

  constructor(seed: number, log: (clock: SimulatedClock) => Log, options: HistoryOptions = {}) {
    this.#name = `seed ${seed}`;
    this.random = seeded(seed);
    this.#o = options;
    this.clock = new SimulatedClock();
    this.clock.readCost = [0.01, 0.1, 1][this.random.int(3)]!;
    this.log = log(this.clock);
    this.hub = simulatedHub(this.log, this.clock, this.random, options.hub);
    this.owner = new SimulatedOwner(() => this.hub);
  }

  /** Returns how many subscriptions were checked. */
  async run(): Promise<number> {
    const { random, clock } = this;
    for (let step = 0; step < (this.#o.steps ?? 120); step++) {
      switch (random.int(11)) {
        case 0:
        case 1:
          await this.#publish(1 + random.int(random.int(10) === 0 ? 400 : 6));
          break;
        case 2:
          if (this.readers.length < 14) await this.#join();
          break;
        case 3:
          this.#drain(this.readers[random.int(this.readers.length)]);
          break;
        case 4:
          if (random.int(6) === 0) this.#leave();
          break;
        case 5:
          clock.advance(random.int(1500));
          break;
        case 6:
          if (random.int(3) === 0) this.#unsubscribe();
          break;
        case 7:
          if (this.#o.lossy === 'trim' && random.int(3) === 0)
            await this.log.trim(random.int(this.log.head.offset + 1));
          else await this.#publishVolatile(1 + random.int(5));
          break;
        case 8:
          await settle(1);
          break;
        default:
          for (let i = random.int(4); i >= 0; i--) clock.turn();
      }
    }
    await this.#finish();
    const checked = this.#check();
    await this.#close();
    return checked;
  }

  async #publish(count: number): Promise<void> {
    const messages = Array.from({ length: count }, () =>
      checkMessage(topics[this.random.int(4)]!, Buffer.from(`"${'x'.repeat(this.random.int(300))}"`), {}),
    );
    const results = await this.log.append(messages, 'written');
    results.forEach((result, i) => {
      if ('error' in result) throw result.error;
      this.published.push({ offset: result.offset, topic: messages[i]!.topic });
    });
  }

  async #publishVolatile(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const topic = topics[this.random.int(4)]!;
      this.volatileTopics.push(topic);
      const message = checkMessage(topic, Buffer.from('1'), { durability: 'none' });
      void this.hub.publisher.publish([message]); // the brake may hold the ack until the clock turns
    }
    await settle(1);
  }

  async #join(): Promise<void> {
    const { random, hub, log } = this;
    const chained = random.int(2) === 0;
    const fast = random.int(2) > 0;
    const outlet = new SimulatedOutlet(fast ? Number.POSITIVE_INFINITY : 500 + random.int(5000));
    const session = hub.openSession('test', outlet, chained ? chainedEncoding : plainEncoding, this.owner);
    const reader: Reader = { outlet, session, chained, fast, readings: [] };
    const count = chained ? 1 + random.int(3) : 1;
    for (let i = 0; i < count; i++) {
      const set = filterSet(filterChoices[random.int(filterChoices.length)]!);
      const at = random.int(log.head.offset + 1);
      const { time } = await log.positionOf(at);
      const choice = random.int(14);
      const newest = choice === 6 ? 1 : choice === 7 ? 1 + random.int(4) : undefined;
      const request =
        choice < 4
          ? { cursor: undefined, from: 'now' }
          : choice < 6
            ? { cursor: undefined, from: 'earliest' }
            : newest !== undefined
              ? { cursor: undefined, from: `last:${newest}` }
              : { cursor: hub.tokens.of(at, time), from: undefined };
      // few labels, so that cohorts are shared
      const sub = reader.readings.some(reading => reading.sub === set.key) ? `s${this.#labels++}` : set.key;
      const start = await hub.resolveStart(set, request);
      let from = -1;
      let live = false;
      const subscription = hub.subscribe(session, sub, set, start, (cursor, atHead) => {
        from = parseCursor(cursor).offset;
        live = atHead;
      });
      reader.readings.push({ sub, subscription, set, start: from, newest, live, endedAt: undefined });
    }
    this.readers.push(reader);
  }

  #drain(reader: Reader | undefined): void {
    if (reader !== undefined && !reader.fast) reader.outlet.drain(this.random.int(4000));
  }

  #leave(): void {
    if (this.readers.length === 0) return;
    const [gone] = this.readers.splice(this.random.int(this.readers.length), 1);
    this.hub.closeSession(gone!.session);
    this.#checkReader(gone!, 'prefix');
  }

  #unsubscribe(): void {
    const reader = this.readers[this.random.int(this.readers.length)];
    const reading = reader?.readings[this.random.int(reader.readings.length)];
    if (reading === undefined || reading.endedAt !== undefined) return;
    reading.endedAt = reader!.outlet.bytes.length;
    this.hub.unsubscribe(reading.subscription);
  }

  /** Everyone reads again: now all has to arrive. */
  async #finish(): Promise<void> {
    const deadline = performance.now() + 20_000;
    for (let round = 0; performance.now() < deadline; round++) {
      for (const { outlet } of this.readers) outlet.drain(Number.POSITIVE_INFINITY);
      const busy = this.clock.turn();
      await settle(1);
      if (!busy && this.readers.every(({ session }) => session.apart.length === 0)) return;
      if (round % 20 === 19) this.clock.advance(1000);
    }
    throw new Error(`${this.#name}: a subscription never came to the head`);
  }

  #check(): number {
    let checked = 0;
    for (const reader of this.readers) {
      this.#checkReader(reader, 'all');
      checked += reader.readings.length;
    }
    return checked;
  }

  #checkReader(reader: Reader, extent: 'all' | 'prefix'): void {
    const received = reader.outlet.received();
    for (const reading of reader.readings) {
      const mine = received.filter(item =>
        item.kind === 'records'
          ? true
          : item.kind === 'messages'
            ? item.sub === reading.sub
            : (item.frame as { sub?: string }).sub === reading.sub,
      );
      this.#checkReading(reader, reading, mine, reading.endedAt === undefined ? extent : 'prefix');
      if (reading.endedAt !== undefined && reader.chained) {
        const late = Buffer.concat(reader.outlet.bytes.slice(reading.endedAt)).toString();
        expect(late.includes(`"sub":${JSON.stringify(reading.sub)},`), `${this.#name}: it goes on after its end`).toBe(
          false,
        );
      }
    }
  }

  #checkReading(reader: Reader, reading: Reading, received: readonly Received[], extent: 'all' | 'prefix'): void {
    const name = `${this.#name}, ${reading.set.filters.join(' ')}, from ${reading.start}`;
    const expected = this.published.filter(
      record => record.offset > reading.start && reading.set.matches(record.topic),
    );
    let next = 0;
    // as long as a snapshot lasts, records are left out without a word
    let told = reading.newest === undefined || reading.live ? 0 : Number.POSITIVE_INFINITY;
    let { live } = reading;
    let begun = live;
    let lastVolatile = 0;
    for (const item of received) {
      if (item.kind === 'frame') {
        const { frame } = item;
        if (frame.type === 'gap') {
          expect(this.#o.lossy, `${name}: ${JSON.stringify(frame)}`).toBeDefined();
          const to = parseCursor(frame.cursor).offset;
          const from = parseCursor(frame.after).offset;
          const missed = expected.some(({ offset }) => offset > from && offset <= to);
          if (live && reader.fast) expect(missed, `${name}: a gap without a loss, ${from} to ${to}`).toBe(true);
          live = false;
          // after a gap of the policy `last` the newest of each topic may be anywhere up to the head of that moment
          told = this.#o.lossy === 'last' ? Number.POSITIVE_INFINITY : Math.max(told, to);
        } else if (frame.type === 'live') {
          live = true;
          if (reading.newest !== undefined && !begun) {
            begun = true;
            const offset = parseCursor(frame.cursor).offset;
            const before = received.slice(0, received.indexOf(item));
            this.#checkSnapshot(reading.newest, expected, before, offset, name);
            told = this.#o.lossy === 'last' ? told : offset;
          }
        }
      } else if (item.stored) {
        for (const offset of item.offsets) {
          while (next < expected.length && expected[next]!.offset < offset) {
            expect(expected[next]!.offset, `${name}: lost in silence before ${offset}`).toBeLessThanOrEqual(told);
            next++;
          }
          expect(offset, `${name}: out of order, twice, or not asked for`).toBe(expected[next]?.offset);
          next++;
        }
      } else {
        for (const number of item.offsets) {
          expect(number, `${name}: class none twice or out of order`).toBeGreaterThan(lastVolatile);
          expect(reading.set.matches(this.volatileTopics[number]!), `${name}: class none not asked for`).toBe(true);
          lastVolatile = number;
        }
      }
    }
    if (extent === 'all') {
      for (const record of expected.slice(next))
        expect(record.offset, `${name}: lost at the end`).toBeLessThanOrEqual(told);
      if (this.#o.lossy === 'last') this.#checkNewest(1, expected, received, name);
    }
    if (reader.chained) checkChain(received, reading.start, name);
  }

  /** What came before `live`: the newest of each topic up to there, but for what was told as missing. */
  #checkSnapshot(
    count: number,
    expected: readonly { offset: number; topic: string }[],
    received: readonly Received[],
    to: number,
    name: string,
  ): void {
    const gaps = received.flatMap(item => (item.kind === 'frame' && item.frame.type === 'gap' ? [item.frame] : []));
    const gone = Math.max(0, ...gaps.map(gap => parseCursor(gap.cursor).offset));
    const there = expected.filter(({ offset }) => offset > gone && offset <= to);
    this.#checkNewest(count, there, received, `${name}, newest ${count} up to ${to}`);
  }

  /** The newest `count` of each topic arrived; with more than one nothing between any that did is missing. */
  #checkNewest(
    count: number,
    expected: readonly { offset: number; topic: string }[],
    received: readonly Received[],
    name: string,
  ): void {
    const got = new Set(received.flatMap(item => (item.kind === 'frame' || !item.stored ? [] : item.offsets)));
    for (const topic of topics) {
      const all = expected.filter(record => record.topic === topic);
      const first = count === 1 ? -1 : all.findIndex(({ offset }) => got.has(offset));
      const must = all.slice(first === -1 ? -count : Math.min(first, Math.max(0, all.length - count)));
      for (const { offset } of must) expect(got.has(offset), `${name}: ${topic}, ${offset}`).toBe(true);
    }
  }

  async #close(): Promise<void> {
    const { hub } = this;
    for (const reader of this.readers) hub.closeSession(reader.session);
    expect(hub.cohorts.size).toBe(0);
    expect(hub.index.filterCount).toBe(0);
    expect(hub.sessions.size).toBe(0);
    expect(hub.catchUp.lagging.size).toBe(0);
    expect(hub.catchUp.pinnedBytes).toBe(0);
    hub.close();
    await this.log.close();
  }
}

function checkChain(received: readonly Received[], start: number, name: string): void {
  let last: string | undefined;
  for (const item of received) {
    const link =
      item.kind === 'frame'
        ? item.frame.type === 'cursor' || item.frame.type === 'gap'
          ? item.frame
          : undefined
        : item.kind === 'messages' && item.stored
          ? item
          : undefined;
    if (link === undefined) continue;
    if (last === undefined) expect(parseCursor(link.after!).offset, name).toBe(start);
    else expect(link.after, name).toBe(last);
    last = link.cursor;
  }
}

const memory =
  (hotBytes: number) =>
  (clock: SimulatedClock): Log =>
    openMemoryLog({ clock: clock.forLog, hotBytes });

describe('delivery', () => {
  const root = mkdtempSync(joinPath(tmpdir(), 'tailrace-delivery-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('I3: every reader gets exactly its records, in order, once, with an unbroken chain', async () => {
    let checked = 0;
    for (let seed = 1; seed <= Number(process.env.SEEDS); seed++) checked += await new History(seed, memory(10_000_000)).run();
    expect(checked).toBeGreaterThan(800);
  });

  it('I4: what retention takes away is told to whom it concerns, and nothing else is missing', async () => {
    for (let seed = 1; seed <= Number(process.env.SEEDS); seed++) await new History(seed, memory(10_000_000), { lossy: 'trim' }).run();
  });

  it('I4: the same when the log holds hardly more than what is under way', async () => {
    for (let seed = 1; seed <= Number(process.env.SEEDS); seed++) await new History(seed, memory(30_000), { lossy: 'trim' }).run();
  });

  it('the policy `last` tells a gap before it skips, and always ends with the newest of each topic', async () => {
    const hub = { lagRules: [{ filter: '#', policy: 'last', after: 300 }] } as const;
    for (let seed = 1; seed <= Number(process.env.SEEDS); seed++) await new History(seed, memory(10_000_000), { lossy: 'last', hub }).run();
  });

  it('I3: over a log on disk whose hot tail holds only the newest few', async () => {
    for (let seed = 1; seed <= Number(process.env.SEEDS) / 10; seed++) {
      const directory = joinPath(root, `plain-${seed}`);
      const log = await openDiskLog({ directory, segmentBytes: 200_000, hotBytes: 20_000 });
      await new History(seed, () => log, { steps: 200 }).run();
      rmSync(directory, { recursive: true });
    }
  });

  it('I4: over such a log that is trimmed meanwhile', async () => {
    for (let seed = 1; seed <= Number(process.env.SEEDS) / 10; seed++) {
      const directory = joinPath(root, `trim-${seed}`);
      const log = await openDiskLog({ directory, segmentBytes: 64_000, hotBytes: 20_000 });
      await new History(seed, () => log, { steps: 200, lossy: 'trim' }).run();
      rmSync(directory, { recursive: true });
    }
  });
});
