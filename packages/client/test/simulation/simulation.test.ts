import { matchFilter } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Client } from '../../src/client.ts';
import { poll, type Subscription, sse, type Transport, type TransportName, webSocket } from '../../src/index.ts';
import { Network } from './network.ts';
import { type LogRecord, placeOf } from './server.ts';
import { World } from './world.ts';

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

const filters = ['a/#', 'a/+', 'a/1', 'b/2', '#'];
const topics = ['a/1', 'a/2', 'b/2', 'a/x/y'];

/** What one reader was given since it was told last where it stands. */
class Reader {
  readonly filter: string;
  subscription: Subscription | undefined;
  given: number[] = [];
  /** Everything that matches beyond this offset is to be given, without what lies in a gap. */
  start: number | undefined;
  readonly gaps: (readonly [after: number, to: number])[] = [];

  constructor(filter: string) {
    this.filter = filter;
  }

  expected(everything: ReadonlyMap<number, LogRecord>): number[] {
    return [...everything.values()]
      .filter(({ topic, offset }) => matchFilter(this.filter, topic) && offset > this.start!)
      .map(({ offset }) => offset)
      .filter(
        offset => !this.gaps.some(([after, to]) => offset > after && offset <= to && !this.given.includes(offset)),
      );
  }
}

async function run(seed: number, transports: readonly Transport[]): Promise<void> {
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const world = new World(random);
  const network = new Network(world);
  const { server } = network;
  Object.assign(world, { fetch: network.fetch, WebSocket: network.WebSocket });
  const kept = new Map<string, string>();
  const store = { load: (key: string) => kept.get(key), save: (key: string, value: string) => kept.set(key, value) };
  const onLeftRefused = (): void => {};
  const open = (): Client =>
    new Client('http://server', { transports, environment: world, store, keepOutbox: true, onLeftRefused });
  let client = open();
  let page = 0;
  const readers: Reader[] = [];
  const answers: Promise<unknown>[] = [];
  let published = 0;
  let resolved = 0;
  let hasLost = false;
  const refused: string[] = [];
  /** All that ever was in the log as it is now; a rewind takes what it loses. */
  const everything = new Map<number, LogRecord>();
  const remember = (): void => {
    for (const record of server.log) everything.set(record.offset, record);
  };

  const read = (reader: Reader, name: string): void => {
    const isSlow = random() < 0.4;
    const options = {
      from: 'saved',
      name,
      buffer: pick([3, 10, 1000]),
      onGap: ({ after, cursor }: { after: string; cursor: string }) =>
        reader.gaps.push([placeOf(after).offset, placeOf(cursor).offset]),
      onReset: ({ cursor }: { cursor: string }) => {
        reader.given = [];
        reader.gaps.length = 0;
        reader.start = placeOf(cursor).offset;
      },
    };
    const opened = page;
    // what is interrupted by the end of its page was not taken
    const take = async (offset: number): Promise<void> => {
      if (isSlow) await new Promise<void>(resolve => world.after(random() * 200, resolve));
      if (opened === page) reader.given.push(offset);
    };
    if (random() < 0.5) {
      reader.subscription = client.subscribe(reader.filter, { ...options, onMessage: ({ offset }) => take(offset!) });
      return;
    }
    const subscription = client.subscribe(reader.filter, options);
    reader.subscription = subscription;
    void (async () => {
      for await (const { offset } of subscription) await take(offset!);
    })();
  };

  const steps: readonly (() => unknown)[] = [
    () => server.append(pick(topics), 'from elsewhere'),
    () => server.append(pick(topics), 'from elsewhere'),
    () => {
      const isRefused = random() < 0.2;
      const answer = client.publish(pick(topics), isRefused ? 'refuse' : published++);
      answers.push(
        answer.then(
          () => resolved++,
          ({ code }) => refused.push(code),
        ),
      );
    },
    () => {
      if (readers.length === 4) return;
      const reader = new Reader(pick(filters));
      // it begins at the beginning, as a client would that has read nothing of it
      kept.set(`tailrace:http://server:${readers.length}`, JSON.stringify([`k.${server.epoch}.${server.floor}`]));
      reader.start = server.floor;
      read(reader, String(readers.length));
      readers.push(reader);
    },
    () => world.advance(random() * 100),
    () => world.advance(random() * 100),
    () => world.advance(random() * 5000),
    () => random() < 0.2 && world.advance(100_000),
    () => network.cut(random() < 0.3),
    () => {
      network.weather = pick(['fine', 'refuses', 'swallows', 'fine']);
    },
    () => {
      network.weather = 'fine';
    },
    () => network.drain(),
    () => {
      network.losesNext = true;
    },
    () => world.wake(),
    () => {
      remember();
      if (random() < 0.3) server.trim(server.head - Math.floor(random() * 10));
    },
    async () => {
      if (random() > 0.15 || !readers.every(({ subscription }) => subscription!.state === 'live')) return;
      remember();
      const to = Math.max(server.floor, server.head - Math.floor(random() * 5));
      hasLost = true;
      server.rewind(to);
      for (const offset of [...everything.keys()]) if (offset > to) everything.delete(offset);
      network.cut(false);
      // nobody publishes before all were told: else what they had may be numbered anew unnoticed
    },
    async () => {
      if (random() > 0.2) return;
      // the page is closed in good order, and opened again
      client.close();
      page++;
      await Promise.allSettled(answers.splice(0));
      await world.advance(random() * 300);
      client = open();
      for (const [i, reader] of readers.entries()) read(reader, String(i));
    },
  ];
  for (let step = 0; step < 80; step++) {
    await pick(steps)();
    remember();
  }

  // the weather clears up, and everything comes to an end
  network.weather = 'fine';
  network.losesNext = false;
  await world.advance(400_000);
  // what was lost is missed when more comes
  for (const topic of topics) server.append(topic, 'last');
  await world.advance(60_000);
  remember();
  await Promise.allSettled(answers);
  expect(client.pending).toBe(0);
  expect(resolved).toBeLessThanOrEqual(published);
  for (const code of refused) expect(['publish_forbidden', 'closed']).toContain(code);
  const mine = [...everything.values()].flatMap(({ data }) => (typeof data === 'number' ? [data] : []));
  // once each, in the order in which they were published
  expect(mine).toEqual([...new Set(mine)].sort((a, b) => a - b));
  // nothing is lost with a page that was closed
  if (!hasLost) expect(new Set(mine).size).toBe(published);
  for (const reader of readers) {
    expect({ filter: reader.filter, given: reader.given }).toEqual({
      filter: reader.filter,
      given: reader.expected(everything),
    });
    expect(reader.subscription!.state).toBe('live');
  }
  client.close();
  await world.advance(60_000);
  for (const session of [...server.sessions]) session.end();
  await world.advance(60_000);
  expect(world.left).toBe(0);
}

describe('a client over a network that fails as it likes', () => {
  const all: Readonly<Record<TransportName, Transport>> = { websocket: webSocket, sse, poll };
  for (const name of ['websocket', 'sse', 'poll'] as const)
    test(`by ${name} every reader is given everything in order, once`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer(), seed => run(seed, [all[name]])),
        { numRuns: 400 },
      );
    });

  test('by whatever works', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), seed => run(seed, [webSocket, sse, poll])),
      { numRuns: 400 },
    );
  });
});
