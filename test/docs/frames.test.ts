import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { pages } from './page.ts';
import { Stage } from './stage.ts';

type Frame = { readonly type: string } & Readonly<Record<string, unknown>>;

/** The frames that a block of §7 shows, one a line; `…` in a string stands for anything, `,…` for more members. */
function framesOf(section: string): Frame[] {
  const page = pages().find(({ path }) => path === 'docs/protocol.md')!;
  const heading = page.text.split('\n').findIndex(line => line.startsWith(`### ${section} `)) + 1;
  const block = page.blocks.find(({ line, language }) => language === 'json' && line > heading)!;
  return block.text.split('\n').map(line => JSON.parse(line.replaceAll(',…', '')) as Frame);
}

/** A WebSocket client that keeps every frame it gets. */
class Client implements Disposable {
  readonly frames: Frame[] = [];
  readonly socket: WebSocket;
  #changed = (): void => {};

  constructor(url: string) {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'tailrace.v1.json');
    this.socket.on('message', data => {
      this.frames.push(JSON.parse(data.toString()) as Frame);
      this.#changed();
    });
  }

  opened(): Promise<void> {
    return new Promise((resolve, reject) => this.socket.on('open', resolve).on('error', reject));
  }

  send(frame: unknown): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** The first frame of this type that fits, now or later. */
  first(type: string, fits: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return new Promise(resolve => {
      this.#changed = () => {
        const found = this.frames.find(frame => frame.type === type && fits(frame));
        if (found !== undefined) resolve(found);
      };
      this.#changed();
    });
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

test('the frames that docs/protocol.md §7 shows are those that a server takes and sends', async () => {
  await using stage = await Stage.open('--heartbeat 5s');
  const shown = new Map(framesOf('7.2').map(frame => [frame.type, frame]));
  using client = new Client(stage.url);
  await client.opened();
  const seen = new Map<string, Frame>();
  const see = async (type: string, fits?: (frame: Frame) => boolean): Promise<Frame> => {
    const frame = await client.first(type, fits);
    seen.set(type, frame);
    return frame;
  };

  const sent = framesOf('7.1');
  expect(sent.map(({ type }) => type)).toEqual(['connect', 'subscribe', 'publish', 'unsubscribe', 'ping']);
  for (const frame of sent) client.send(frame);
  for (const type of ['welcome', 'subscribed', 'live', 'published', 'messages', 'unsubscribed', 'pong', 'heartbeat'])
    await see(type);

  client.send({ type: 'subscribe', ref: 6, subscriptions: [{ filter: 'orders/+', sub: 'orders' }] });
  await see('error', ({ ref }) => ref === 6);
  client.send({ type: 'subscribe', ref: 7, subscriptions: [{ filter: 'orders/44', sub: 'one' }] });
  await client.first('subscribed', ({ ref }) => ref === 7);
  // a topic that nobody reads: the next heartbeat of the others moves their cursor
  client.send({ type: 'publish', ref: 8, messages: [{ topic: 'elsewhere', data: 1 }] });
  await see('cursor', ({ sub }) => sub === 'orders');
  client.send({ type: 'publish', ref: 9, messages: [{ topic: 'orders/44', end: true }] });
  await see('end');
  const ahead = String(seen.get('cursor')!.cursor).replace(/\.\d+\./, '.999999.');
  client.send({ type: 'subscribe', ref: 10, subscriptions: [{ filter: 'late', cursor: ahead }] });
  await see('reset');
  await Promise.all([see('drain'), stage.stop()]);

  const members = (frames: Iterable<Frame>): Record<string, string[]> =>
    Object.fromEntries([...frames].map(frame => [frame.type, Object.keys(frame)]));
  // a gap takes a sweep of retention, which comes every 10 s: the tests of hub/ see to it
  shown.delete('gap');
  expect(members(seen.values())).toEqual(members([...shown.values()].sort(bySeen(seen))));
});

function bySeen(seen: ReadonlyMap<string, Frame>): (a: Frame, b: Frame) => number {
  const order = [...seen.keys()];
  return (a, b) => order.indexOf(a.type) - order.indexOf(b.type);
}
