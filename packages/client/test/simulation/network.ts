import type { ServerFrame } from '@tailrace/protocol';
import type { Environment, WebSocketLike } from '../../src/environment.ts';
import { SimulatedServer, SimulatedSession } from './server.ts';
import type { World } from './world.ts';

/** How the network treats what begins now. */
export type Weather =
  | 'fine'
  /** Nothing gets through; told at once. */
  | 'refuses'
  /** Nothing gets through, and nobody says so. */
  | 'swallows';

/** The way to the server: late, in order, and cut at any moment. */
export class Network {
  weather: Weather = 'fine';
  /** The next frame with records gets lost in a proxy. */
  losesNext = false;
  readonly server: SimulatedServer;
  readonly world: World;
  readonly #wires = new Set<Wire>();

  constructor(world: World) {
    this.world = world;
    this.server = new SimulatedServer(world);
  }

  /** Cuts everything that is open; `isSilent`: nobody is told. */
  cut(isSilent: boolean): void {
    for (const wire of [...this.#wires]) wire.cut(isSilent);
  }

  drain(): void {
    for (const wire of [...this.#wires]) wire.down({ type: 'drain', within: 500 });
    this.cut(false);
  }

  get isQuiet(): boolean {
    return [...this.server.sessions].every(session => session.isAtHead);
  }

  open(onFrame: (frame: ServerFrame) => void, onCut: () => void): Wire {
    const wire: Wire = new Wire(this, onFrame, () => {
      this.#wires.delete(wire);
      onCut();
    });
    this.#wires.add(wire);
    return wire;
  }

  /** What a client finds where WebSockets are. */
  get WebSocket(): NonNullable<Environment['WebSocket']> {
    const network = this;
    return class implements WebSocketLike {
      readonly bufferedAmount = 0;
      onopen: ((event: never) => void) | null = null;
      onmessage: ((event: { readonly data: unknown }) => void) | null = null;
      onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
      onerror: ((event: never) => void) | null = null;
      readonly #wire: Wire;
      readonly #session: SimulatedSession;

      constructor() {
        this.#wire = network.open(
          frame => this.onmessage?.({ data: JSON.stringify(frame) }),
          () => {
            this.#session.end();
            this.onclose?.({ code: 1006, reason: '' });
          },
        );
        this.#session = new SimulatedSession(network.server, frame => this.#wire.down(frame));
        if (network.weather === 'refuses') this.#wire.cut(false);
        else if (network.weather === 'fine')
          network.world.after(5, () => !this.#wire.isCut && this.onopen?.({} as never));
      }

      send(text: string): void {
        const frame = JSON.parse(text);
        this.#wire.up(() => {
          const session = this.#session;
          if (frame.type === 'connect') {
            session.welcome();
            session.subscribe(frame.subscribe ?? []);
          } else if (frame.type === 'subscribe') session.subscribe(frame.subscriptions);
          else if (frame.type === 'unsubscribe') session.unsubscribe(frame.subs);
          else if (frame.type === 'ping') this.#wire.down({ type: 'pong', time: 0 });
          else if (frame.type === 'publish')
            this.#wire.down({
              type: 'published',
              ref: frame.ref,
              results: network.server.publish(frame.messages) as never,
            });
        });
      }

      close(): void {
        this.#wire.cut(true);
        this.#session.end();
      }
    };
  }

  /** What a client finds where `fetch` is. */
  readonly fetch = async (input: unknown, init?: RequestInit): Promise<Response> => {
    const { pathname, searchParams } = new URL(String(input));
    const body = init!.body === undefined ? undefined : JSON.parse(String(init!.body));
    const { server, world } = this;
    init!.signal?.throwIfAborted();
    return new Promise<Response>((resolve, reject) => {
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
      const frames: ServerFrame[] = [];
      const fail = (): void => {
        session.end();
        const error = new TypeError('the network failed');
        reject(error);
        try {
          controller?.error(error);
        } catch {
          // closed already
        }
      };
      const wire = this.open(frame => {
        if (pathname === '/v1/sse') controller?.enqueue(encoder.encode(`data: ${JSON.stringify(frame)}\n\n`));
        else resolve(Response.json({ frames: [...frames.splice(0), frame] }));
      }, fail);
      const session = new SimulatedSession(server, frame => {
        if (pathname === '/v1/sse') wire.down(frame);
        else frames.push(frame);
      });
      init!.signal?.addEventListener('abort', () => wire.cut(false));
      if (this.weather === 'refuses') wire.cut(false);
      wire.up(() => {
        if (pathname === '/v1') {
          wire.answer(() => resolve(Response.json({ heartbeat: 25_000 })));
          return;
        }
        if (pathname === '/v1/publish') {
          const results = server.publish(body);
          wire.answer(() => resolve(Response.json({ results })));
          return;
        }
        if (pathname === '/v1/sse') {
          const stream = new ReadableStream<Uint8Array>({
            start(given) {
              controller = given;
            },
          });
          wire.answer(() => resolve(new Response(stream, { headers: { 'content-type': 'text/event-stream' } })));
          session.welcome();
          session.subscribe(body.subscribe);
          return;
        }
        if (body.subscribe.length === 0) throw new Error('a poll names at least one subscription');
        if (body.connect !== undefined) session.welcome();
        session.subscribe(body.subscribe);
        const answer = (): void => {
          session.end();
          const all = frames.filter(({ type }) => type !== 'heartbeat');
          wire.answer(() => resolve(Response.json({ frames: all })));
        };
        const deadline = world.now() + Number(searchParams.get('wait'));
        const look = (): void => {
          if (wire.isCut) return;
          if (world.now() >= deadline || frames.some(({ type }) => type !== 'subscribed' && type !== 'live')) answer();
          else world.after(Math.min(100, deadline - world.now()), look);
        };
        world.after(40, look);
      });
    });
  };
}

const encoder = new TextEncoder();

/** One connection: what is sent arrives in order, up to 50 ms later, unless it is cut before. */
class Wire {
  isCut = false;
  readonly #network: Network;
  readonly #onFrame: (frame: ServerFrame) => void;
  readonly #onCut: () => void;
  readonly #swallows: boolean;
  #upAt = 0;
  #downAt = 0;

  constructor(network: Network, onFrame: (frame: ServerFrame) => void, onCut: () => void) {
    this.#network = network;
    this.#onFrame = onFrame;
    this.#onCut = onCut;
    this.#swallows = network.weather === 'swallows';
  }

  up(handle: () => void): void {
    const { world } = this.#network;
    this.#upAt = Math.max(this.#upAt, world.now() + world.random() * 50);
    world.after(this.#upAt - world.now(), () => !this.isCut && !this.#swallows && handle());
  }

  down(frame: ServerFrame): void {
    if (frame.type === 'messages' && this.#network.losesNext) {
      this.#network.losesNext = false;
      return;
    }
    this.answer(() => this.#onFrame(frame));
  }

  answer(handle: () => void): void {
    const { world } = this.#network;
    this.#downAt = Math.max(this.#downAt, world.now() + world.random() * 50);
    world.after(this.#downAt - world.now(), () => !this.isCut && handle());
  }

  cut(isSilent: boolean): void {
    if (this.isCut) return;
    this.isCut = true;
    if (!isSilent) this.#network.world.after(0, this.#onCut);
  }
}
