import { matchFilter } from '@tailrace/protocol';
import type { Client } from '../../src/client.ts';
import type { Subscription } from '../../src/index.ts';
import type { Page } from './page.ts';
import { type LogRecord, placeOf } from './server.ts';
import type { World } from './world.ts';

/** Reads under one name, over any number of pages, and knows what it was given since it was told last where it stands. */
export class Reader {
  readonly filter: string;
  readonly name: string;
  subscription: Subscription | undefined;
  given: { readonly topic: string; readonly offset: number }[] = [];
  /** Everything that matches beyond this offset is to be given, without what lies in a gap. */
  #start: number;
  #gaps: (readonly [after: number, to: number])[] = [];
  readonly #world: World;

  constructor(world: World, filter: string, name: string, start: number) {
    this.#world = world;
    this.filter = filter;
    this.name = name;
    this.#start = start;
  }

  /** Reads on from where it is, in a new page. */
  open(page: Page, client: Client): void {
    const { random } = this.#world;
    const isSlow = random() < 0.4;
    const options = {
      from: 'saved',
      name: this.name,
      buffer: [3, 10, 1000][Math.floor(random() * 3)]!,
      onGap: ({ after, cursor }: { after: string; cursor: string }) =>
        this.#gaps.push([placeOf(after).offset, placeOf(cursor).offset]),
      onReset: ({ cursor }: { cursor: string }) => {
        this.given = [];
        this.#gaps = [];
        this.#start = placeOf(cursor).offset;
      },
    };
    let isClosed = false;
    // what is interrupted by the end of its page was not taken
    const take = async ({ topic, offset }: { topic: string; offset?: number }): Promise<void> => {
      if (isSlow) await new Promise<void>(resolve => page.after(random() * 200, resolve));
      isClosed ||= page.isGone || client.state === 'closed';
      if (!isClosed) this.given.push({ topic, offset: offset! });
    };
    if (random() < 0.5) {
      this.subscription = client.subscribe(this.filter, { ...options, onMessage: take });
      return;
    }
    const subscription = client.subscribe(this.filter, options);
    this.subscription = subscription;
    void (async () => {
      for await (const message of subscription) await take(message);
    })();
  }

  /** Its page has crashed: what it took and did not keep yet will be given again. */
  fallBack(kept: string): void {
    const [cursor, ...beyond] = JSON.parse(kept) as [string, ...[string, { readonly offset: number }][]];
    const { offset: upTo } = placeOf(cursor);
    const newest = new Map(beyond);
    this.given = this.given.filter(({ topic, offset }) => offset <= (newest.get(topic)?.offset ?? upTo));
    // and told again
    this.#gaps = this.#gaps.filter(([after]) => after < upTo);
  }

  expected(everything: ReadonlyMap<number, LogRecord>): number[] {
    const given = new Set(this.given.map(({ offset }) => offset));
    return [...everything.values()]
      .filter(({ topic, offset }) => matchFilter(this.filter, topic) && offset > this.#start)
      .map(({ offset }) => offset)
      .filter(offset => given.has(offset) || !this.#gaps.some(([after, to]) => offset > after && offset <= to));
  }
}
