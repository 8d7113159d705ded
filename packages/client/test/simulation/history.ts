import { expect } from 'vitest';
import { Client } from '../../src/client.ts';
import type { Transport } from '../../src/index.ts';
import { tabs } from '../../src/tabs/tabs.ts';
import { Network } from './network.ts';
import { Page } from './page.ts';
import { Reader } from './reader.ts';
import type { LogRecord } from './server.ts';
import { World } from './world.ts';

export interface HistoryOptions {
  readonly transports: readonly Transport[];
  /** Pages that are open at a time. */
  readonly pages: number;
  /** They share one connection. */
  readonly share?: boolean;
}

/** What a page publishes, to be found again. */
interface Mine {
  readonly page: number;
  readonly n: number;
}

interface OpenPage {
  readonly number: number;
  readonly page: Page;
  readonly client: Client;
  published: number;
  resolved: number;
  readonly refused: string[];
}

const filters = ['a/#', 'a/+', 'a/1', 'b/2', '#'];
const topics = ['a/1', 'a/2', 'b/2', 'a/x/y'];
const scope = 'tailrace:http://server';

/** Some minutes in the life of one user's pages, over a network and a server that do as they like. */
export class History {
  readonly #random: () => number;
  readonly #options: HistoryOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #kept = new Map<string, string>();
  readonly #pages: OpenPage[] = [];
  readonly #all: OpenPage[] = [];
  /** Which page reads it: by its place among the readers. */
  readonly #readers: Reader[] = [];
  /** All that ever was in the log as it is now; a rewind takes what it loses. */
  readonly #everything = new Map<number, LogRecord>();
  #hasLost = false;
  #hasCrashed = false;

  constructor(seed: number, options: HistoryOptions) {
    this.#random = randomOf(seed);
    this.#options = options;
    this.#world = new World(this.#random);
    this.#network = new Network(this.#world);
    for (let place = 0; place < options.pages; place++) this.#pages.push(this.#open());
  }

  async run(): Promise<void> {
    for (let step = 0; step < 80; step++) {
      await this.#pick(this.#steps)();
      this.#remember();
    }
    await this.#settle();
    this.#judge();
    await this.#closeAll();
  }

  readonly #steps: readonly (() => unknown)[] = [
    () => this.#network.server.append(this.#pick(topics), 'from elsewhere'),
    () => this.#network.server.append(this.#pick(topics), 'from elsewhere'),
    () => this.#publish(this.#pick(this.#pages)),
    () => this.#publish(this.#pick(this.#pages)),
    () => this.#read(),
    () => this.#world.advance(this.#random() * 100),
    () => this.#world.advance(this.#random() * 100),
    () => this.#world.advance(this.#random() * 5000),
    () => this.#random() < 0.2 && this.#world.advance(100_000),
    () => this.#network.cut(this.#random() < 0.3),
    () => {
      this.#network.weather = this.#pick(['fine', 'refuses', 'swallows', 'fine']);
    },
    () => {
      this.#network.weather = 'fine';
    },
    () => this.#network.drain(),
    () => {
      this.#network.losesNext = true;
    },
    () => this.#world.wake(),
    () => {
      const { server } = this.#network;
      if (this.#random() < 0.3) server.trim(server.head - Math.floor(this.#random() * 10));
    },
    () => this.#random() < 0.15 && this.#rewind(),
    () => this.#random() < 0.3 && this.#replacePage(),
  ];

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }

  #remember(): void {
    for (const record of this.#network.server.log) this.#everything.set(record.offset, record);
  }

  #open(): OpenPage {
    const page = new Page(this.#world, this.#network);
    const client = new Client('http://server', {
      transports: this.#options.transports,
      environment: page,
      store: {
        load: key => this.#kept.get(key),
        save: (key, value) => !page.isGone && this.#kept.set(key, value),
      },
      keepOutbox: true,
      onLeftRefused: () => {},
      ...(this.#options.share && { share: tabs }),
    });
    const opened = { number: this.#all.length, page, client, published: 0, resolved: 0, refused: [] };
    this.#all.push(opened);
    return opened;
  }

  #publish(to: OpenPage): void {
    const isRefused = this.#random() < 0.2;
    const data: Mine | 'refuse' = isRefused ? 'refuse' : { page: to.number, n: to.published++ };
    to.client.publish(this.#pick(topics), data).then(
      () => to.resolved++,
      ({ code }) => to.refused.push(code),
    );
  }

  #read(): void {
    if (this.#readers.length === 4) return;
    const { epoch, floor } = this.#network.server;
    const place = this.#readers.length;
    const reader = new Reader(this.#world, this.#pick(filters), String(place), floor);
    // it begins at the beginning, as one that has read nothing of it
    this.#kept.set(`${scope}:${place}`, JSON.stringify([`k.${epoch}.${floor}`]));
    this.#readers.push(reader);
    const { page, client } = this.#pages[place % this.#pages.length]!;
    reader.open(page, client);
  }

  /** The server loses its newest records, which all have had: so all are told. */
  #rewind(): void {
    if (!this.#readers.every(({ subscription }) => subscription!.state === 'live')) return;
    this.#remember();
    const { server } = this.#network;
    const to = Math.max(server.floor, server.head - Math.floor(this.#random() * 5));
    this.#hasLost = true;
    server.rewind(to);
    for (const offset of [...this.#everything.keys()]) if (offset > to) this.#everything.delete(offset);
    this.#network.cut(false);
  }

  /** A page is closed, in good order or not, and another opened where it was. */
  async #replacePage(): Promise<void> {
    const place = Math.floor(this.#random() * this.#pages.length);
    const { page, client } = this.#pages[place]!;
    const crashes = this.#random() < 0.5;
    if (crashes) {
      this.#hasCrashed = true;
      page.kill();
    } else client.close();
    await this.#world.advance(this.#random() * 300);
    const opened = this.#open();
    this.#pages[place] = opened;
    for (const [i, reader] of this.#readers.entries()) {
      if (i % this.#pages.length !== place) continue;
      if (crashes) reader.fallBack(this.#kept.get(`${scope}:${reader.name}`)!);
      reader.open(opened.page, opened.client);
    }
  }

  /** The weather clears up, and everything comes to an end. */
  async #settle(): Promise<void> {
    this.#network.weather = 'fine';
    this.#network.losesNext = false;
    await this.#world.advance(400_000);
    // what was lost is missed when more comes
    for (const topic of topics) this.#network.server.append(topic, 'last');
    await this.#world.advance(60_000);
    this.#remember();
  }

  #judge(): void {
    const taken = [...this.#everything.values()].flatMap(({ data }) =>
      typeof data === 'object' ? [data as Mine] : [],
    );
    for (const { number, page: home, client, published, resolved, refused } of this.#all) {
      if (!home.isGone) expect(client.pending).toBe(0);
      expect(resolved).toBeLessThanOrEqual(published);
      for (const code of refused) expect(['publish_forbidden', 'closed']).toContain(code);
      // once each, in the order in which they were published; none is lost with a page that was closed
      const mine = taken.filter(({ page }) => page === number).map(({ n }) => n);
      expect(mine).toEqual([...new Set(mine)].sort((a, b) => a - b));
      if (!this.#hasLost && !this.#hasCrashed) expect(mine).toHaveLength(published);
    }
    for (const reader of this.#readers) {
      const given = reader.given.map(({ offset }) => offset);
      const expected = reader.expected(this.#everything);
      expect({ filter: reader.filter, given }).toEqual({ filter: reader.filter, given: expected });
      expect(reader.subscription!.state).toBe('live');
    }
  }

  /** Nothing is left of them, but where they got to. */
  async #closeAll(): Promise<void> {
    for (const { client } of this.#pages) client.close();
    await this.#world.advance(60_000);
    for (const session of [...this.#network.server.sessions]) session.end();
    await this.#world.advance(60_000);
    expect(this.#world.left).toBe(0);
  }
}

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
