import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ClientOptions } from 'ws';
import type { Session } from '../../src/hub/index.ts';
import { createMetrics } from '../../src/observe/index.ts';
import { SimulatedClock } from '../hub/simulation.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { heldLog } from './held-log.ts';
import { RawClient } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

const stepMs = 100;
/** What the steps of the wheel may add to a time, ms. */
const tick = 500;

/** Real sockets to a gateway whose time passes only where a test says so. */
class Stage {
  readonly clock: SimulatedClock = new SimulatedClock();
  readonly metrics = createMetrics();
  /** Each round trip with its jitter, as the gateway told them. */
  readonly roundTrips: [ms: number, jitter: number][] = [];
  rooms!: Rooms;
  readonly #open: (() => void)[] = [];

  static async open(gateway: RoomOptions['gateway'] = {}, rooms: RoomOptions = {}): Promise<Stage> {
    const stage = new Stage();
    stage.clock.readCost = 0;
    stage.rooms = await Rooms.open({
      ...rooms,
      gateway: { clock: stage.clock, onRoundTrip: (...trip) => void stage.roundTrips.push(trip), ...gateway },
    });
    stage.metrics.watch(stage.rooms);
    return stage;
  }

  async peer(connect: object = { subscribe: [{ filter: 'a' }] }, options?: ClientOptions): Promise<Peer> {
    const client = await WsClient.open(this.rooms.port, options);
    this.#open.push(() => client.close());
    const { session, heartbeat } = await client.ask({ type: 'connect', ref: 'c', ...connect });
    return new Peer(this, client, this.rooms.hub.sessions.get(session as string)!, heartbeat as number);
  }

  async stream(query = 'filter=a'): Promise<{ client: SseClient; session: Session }> {
    const client = await SseClient.open(this.rooms.port, query);
    this.#open.push(() => client.close());
    const { session } = await client.notice('subscribed');
    return { client, session: this.rooms.hub.sessions.get(session as string)! };
  }

  /** Lets time pass. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += stepMs) this.clock.advance(stepMs);
  }

  /** Lets time pass until the server did something; how much that took, ms. */
  passUntil(done: () => boolean, what: string): number {
    const began = this.clock.ms;
    while (!done()) {
      if (this.clock.ms - began > 200_000) throw new Error(`never: ${what}`);
      this.clock.advance(stepMs);
    }
    return this.clock.ms - began;
  }

  /** Lets time pass until a stream is written to after it was quiet; how much that took, ms. */
  passUntilWritten(session: Session): number {
    let before = true;
    return this.passUntil(() => {
      const now = session.wrote;
      const written = now && !before;
      before = now;
      return written;
    }, 'a write');
  }

  cuts(): Record<string, number> {
    return Object.fromEntries(this.rooms.gateway.cut);
  }

  /** The gauges of one measure: `newest prompt` and so on. */
  async graded(measure: string): Promise<Record<string, number>> {
    const lines = (await this.metrics.text()).matchAll(
      /^tailrace_(\w+)_connections\{window="(\w+)",grade="(\w+)"\} (\d+)$/gm,
    );
    return Object.fromEntries(
      [...lines].filter(line => line[1] === measure).map(line => [`${line[2]} ${line[3]}`, Number(line[4])]),
    );
  }

  async close(): Promise<void> {
    for (const close of this.#open) close();
    await until(() => this.rooms.gateway.connections.size === 0, 'no connection left');
    expect(this.rooms.gateway.wheel.size).toBe(0);
    expect(this.rooms.faults).toEqual([]);
    await this.rooms.close();
    this.metrics.close();
  }
}

/** A WebSocket client that knows when each ping was sent, by what it carries. */
class Peer {
  readonly client: WsClient;
  readonly session: Session;
  /** As `welcome` tells it. */
  readonly heartbeat: number;
  /** Times of the pings that came, ms since the peer connected. */
  readonly pings: number[] = [];
  readonly payloads: Buffer[] = [];
  readonly #stage: Stage;
  readonly #due: { readonly at: number; readonly payload: Buffer }[] = [];

  constructor(stage: Stage, client: WsClient, session: Session, heartbeat: number) {
    this.#stage = stage;
    this.client = client;
    this.session = session;
    this.heartbeat = heartbeat;
    const began = stage.rooms.gateway.now();
    client.socket.on('ping', (payload: Buffer) => {
      this.pings.push((payload.readInt32BE(0) - began) | 0);
      this.payloads.push(payload);
    });
  }

  /** Lets time pass while each ping is answered `after` ms of it. */
  async answer(ms: number, after = 0): Promise<void> {
    const { clock, roundTrips } = this.#stage;
    const due = this.#due;
    for (let passed = 0; passed < ms; passed += stepMs) {
      const seen = this.pings.length;
      this.session.wrote = false;
      clock.advance(stepMs);
      if (this.session.closed) return;
      if (this.session.wrote) {
        await until(() => this.pings.length > seen, 'a ping');
        due.push({ at: clock.ms + after, payload: this.payloads.at(-1)! });
      }
      while (due.length > 0 && due[0]!.at <= clock.ms) {
        const before = roundTrips.length;
        this.client.socket.pong(due.shift()!.payload);
        await until(() => roundTrips.length > before, 'its answer taken');
      }
    }
  }
}

/** A time that the wheel met: not before, and not more than its steps after. */
function expectTimes(times: readonly number[], wanted: readonly number[]): void {
  expect(times).toHaveLength(wanted.length);
  for (const [i, at] of times.entries()) {
    expect(at, `the time at ${i} of ${times}`).toBeGreaterThanOrEqual(wanted[i]!);
    expect(at, `the time at ${i} of ${times}`).toBeLessThanOrEqual(wanted[i]! + 2 * tick);
  }
}

const silent: ClientOptions = { autoPong: false };
const subscribe = [{ filter: 'a' }];

let stage: Stage;
const begin = async (gateway?: RoomOptions['gateway'], rooms?: RoomOptions): Promise<void> => {
  if (stage !== undefined) await stage.close();
  stage = await Stage.open(gateway, rooms);
};
beforeEach(async () => {
  stage = await Stage.open();
});
afterEach(() => stage.close());

describe('the heartbeat of a WebSocket', () => {
  it('pings each 25 s as long as it is answered', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(251_000);
    expectTimes(peer.pings.slice(0, 1), [25_000]);
    expect(peer.pings).toHaveLength(10);
    for (const [i, at] of peer.pings.slice(1).entries()) expect(at - peer.pings[i]!).toBe(25_000);
    await until(() => peer.client.of('heartbeat').length === 10, 'a frame beside each');
  });

  it('asks again each 10 s, and gives up after three pings without a sign of life', async () => {
    const peer = await stage.peer(undefined, silent);
    const took = stage.passUntil(() => stage.cuts().silent === 1, 'the cut');
    await peer.client.closed();
    expectTimes([...peer.pings, took], [25_000, 35_000, 45_000, 55_000]);
  });

  it.each([5000, 17_300, 25_000, 29_900, 30_000])('finds a dead peer within 60 s at %i ms', async heartbeat => {
    const again = Math.min(10_000, heartbeat);
    const pings = [0, again, 2 * again].map(later => heartbeat + later + 1100);
    const last = [0, heartbeat * 0.3, heartbeat * 0.99, ...pings];
    for (const [i, quiet] of last.entries()) {
      const peer = await stage.peer({ heartbeat, subscribe }, silent);
      stage.pass(quiet);
      await peer.client.ask({ type: 'ping', ref: 1 });
      expect(stage.cuts().silent ?? 0).toBe(i);
      const took = stage.passUntil(() => stage.cuts().silent === i + 1, 'found');
      expect(took, `after a last sign of life at ${quiet}`).toBeLessThanOrEqual(60_000);
    }
  });

  it('takes any byte for a sign of life, not pongs alone', async () => {
    const peer = await stage.peer(undefined, silent);
    for (let i = 0; i < 30; i++) {
      stage.pass(12_000);
      await peer.client.ask({ type: 'ping', ref: i });
    }
    expect(stage.cuts()).toEqual({});
    expect(stage.roundTrips).toEqual([]);
  });

  it('sends no ping to one that lags, and takes the end of its lag for a sign of life', async () => {
    const peer = await stage.peer(undefined, silent);
    stage.pass(36_000);
    await until(() => peer.pings.length === 2, 'two without answer');
    const { socket } = peer.client;
    socket.pause();
    let sent = 0;
    for (let i = 0; i < 1000 && !peer.session.lagging; i++)
      sent = await stage.rooms.publish('a', `"${'x'.repeat(100_000)}"`);
    peer.session.wrote = false;
    stage.pass(600_000);
    expect([peer.session.wrote, stage.cuts()]).toEqual([false, {}]);
    socket.resume();
    await until(() => peer.client.offsets().at(-1) === sent && !peer.session.lagging, 'all of it');
    stage.passUntil(() => stage.cuts().silent === 1, 'the cut');
    await peer.client.closed();
    expect(peer.pings).toHaveLength(2 + 3);
  });
});

it('a WebSocket whose publishes wait is not cut for answers that the server does not read', async () => {
  const { log, release } = heldLog();
  await begin({}, { log, hub: { publishDeadline: 60_000 } });
  const peer = await stage.peer();
  const { socket } = peer.client;
  const frame = { type: 'publish', messages: Array.from({ length: 500 }, () => ({ topic: 'x', data: 1 })) };
  // both ends run in this process: once the client's bytes stand still for turns on end, the server has stopped reading
  let still = 0;
  let sent = 0;
  for (let before = 0; still < 50; before = socket.bufferedAmount) {
    for (; socket.bufferedAmount < 1024 * 1024; sent++) peer.client.send(frame);
    await new Promise(resolve => setTimeout(resolve, 1));
    still = socket.bufferedAmount === before ? still + 1 : 0;
  }
  stage.pass(300_000);
  expect(stage.cuts()).toEqual({});
  release();
  await until(() => peer.client.of('published').length === sent, 'all read', 20_000);
  const seen = peer.pings.length;
  stage.pass(26_000);
  await until(() => peer.pings.length > seen && stage.roundTrips.length > 0, 'pinged again, and heard');
});

describe('the interval', () => {
  it('is that of the class: the transport, or what the client asked for', async () => {
    await begin({ heartbeat: { sse: 10_000, websocket: 20_000 } });
    const usual = await stage.peer(undefined, silent);
    const often = await stage.peer({ heartbeat: 7000, subscribe }, silent);
    expect([usual.heartbeat, often.heartbeat]).toEqual([20_000, 7000]);
    stage.pass(22_000);
    await until(() => usual.pings.length === 1 && often.pings.length === 3, 'pings');
    expectTimes(usual.pings, [20_000]);
    // without answer it is asked again after 7 s, not 10
    expectTimes(often.pings, [7000, 14_000, 21_000]);
    const { client } = await stage.stream();
    const asked = await stage.stream('filter=a&heartbeat=8000');
    expect((await client.notice('subscribed')).heartbeat).toBe(10_000);
    expect((await asked.client.notice('subscribed')).heartbeat).toBe(8000);
  });

  it('is cut to 5 to 30 s', async () => {
    const told: unknown[] = [];
    for (const heartbeat of [0, 4999, 5000, 30_000, 30_001, 1e9])
      told.push((await stage.peer({ heartbeat, subscribe })).heartbeat);
    expect(told).toEqual([5000, 5000, 5000, 30_000, 30_000, 30_000]);
    for (const [query, heartbeat] of [
      ['0', 5000],
      ['99999999', 30_000],
    ] as const) {
      const { client } = await stage.stream(`filter=a&heartbeat=${query}`);
      expect((await client.notice('subscribed')).heartbeat).toBe(heartbeat);
    }
  });

  it.each(['', '-1', '1.5', '7s', '1e4', '5000&heartbeat=5000'])('in a URL is whole ms, not %j', async text => {
    const client = await SseClient.open(stage.rooms.port, `filter=a&heartbeat=${text}`);
    await client.raw.over();
    expect(client.status).toBe(400);
    expect(client.body).toContain('"field":"heartbeat"');
  });

  it('may be asked for in a POST too', async () => {
    const body = JSON.stringify({ connect: { heartbeat: 6000 }, subscribe });
    const raw = await RawClient.open(stage.rooms.port);
    raw.send(`POST /v1/sse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect(await raw.has('"subscribed"')).toContain('"heartbeat":6000');
    const comments = (): number => raw.text.split('\n:\n\n').length - 1;
    stage.pass(6000 + 2 * tick);
    await until(() => comments() === 1, 'a heartbeat');
    raw.destroy();
  });
});

describe('the heartbeat of an event stream', () => {
  it('comes each 25 s while nothing else is sent', async () => {
    const { client, session } = await stage.stream();
    expectTimes([stage.passUntilWritten(session)], [25_000]);
    for (let i = 1; i < 8; i++) expect(stage.passUntilWritten(session)).toBe(25_000);
    await until(() => client.blocks.filter(block => block.comment).length === 8, 'as many comments');
  });

  it.each([0.01, 0.3, 0.49, 0.51, 0.9, 0.99])('follows a record, sent at %f of an interval, within one', async part => {
    const { client, session } = await stage.stream();
    stage.pass(25_000 + tick);
    await until(() => client.blocks.some(block => block.comment), 'the first heartbeat');
    stage.pass(25_000 * part);
    await stage.rooms.publish('a');
    await client.count(1);
    expect(stage.passUntilWritten(session)).toBeLessThanOrEqual(25_000 + tick);
    await until(() => client.blocks.filter(block => block.comment).length === 2, 'the second');
  });

  it('is not sent to one that lags', async () => {
    const { client, session } = await stage.stream();
    client.raw.socket.pause();
    for (let i = 0; i < 1000 && !session.lagging; i++) await stage.rooms.publish('a', `"${'x'.repeat(100_000)}"`);
    const { left } = session.outlet;
    stage.pass(600_000);
    expect([session.wrote, session.lagging, session.outlet.left]).toEqual([false, true, left]);
  });
});

describe('round trips', () => {
  it('are those of each ping, also when it was sent again before its answer', async () => {
    const peer = await stage.peer(undefined, silent);
    stage.pass(40_000);
    await until(() => peer.payloads.length === 2, 'two pings');
    const [first, second] = peer.pings;
    for (const [i, payload] of peer.payloads.entries()) {
      peer.client.socket.pong(payload);
      await until(() => stage.roundTrips.length === i + 1, 'its answer');
    }
    expect(stage.roundTrips).toEqual([
      [40_000 - first!, 0],
      [40_000 - second!, second! - first!],
    ]);
  });

  it('are not measured by pongs that answer no ping', async () => {
    const peer = await stage.peer(undefined, silent);
    const forged = (ms: number): Buffer => {
      const payload = Buffer.alloc(4);
      payload.writeInt32BE((stage.rooms.gateway.now() + ms) | 0);
      return payload;
    };
    const { socket } = peer.client;
    for (const payload of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(4), forged(-1), forged(0), forged(1)])
      socket.pong(payload);
    await peer.client.ask({ type: 'ping', ref: 0 });
    stage.pass(26_000);
    await until(() => peer.payloads.length === 1, 'a ping');
    const [payload] = peer.payloads;
    for (const late of [forged(1), Buffer.alloc(125), payload!, payload!, forged(-60_000)]) socket.pong(late);
    await peer.client.ask({ type: 'ping', ref: 1 });
    expect(stage.roundTrips).toEqual([[26_000 - peer.pings[0]!, 0]]);
  });

  it('that are long make the server wait longer for answers, and still find a dead peer within 60 s', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(90_000, 25_000); // within the three pings that a peer of unknown speed gets
    const slowest = stage.roundTrips.length;
    expect(slowest).toBeGreaterThan(0);
    await peer.answer(600_000, 45_000); // would be cut after 30 s without an answer
    expect(stage.cuts()).toEqual({});
    const taken = stage.roundTrips.slice(slowest + 3).map(([ms]) => ms);
    expect(taken.length).toBeGreaterThan(5);
    for (const ms of taken) expect(ms).toBe(45_000);
    await peer.client.ask({ type: 'ping', ref: 1 });
    expect(stage.passUntil(() => stage.cuts().silent === 1, 'found')).toBeLessThanOrEqual(60_000);
  });

  it('that are short leave the pace as it is', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(300_000, 3000);
    for (const [i, at] of peer.pings.slice(1).entries()) expect(at - peer.pings[i]!).toBe(25_000);
  });

  it('are graded with their jitter in two windows', async () => {
    const none = {
      'newest prompt': 0,
      'newest late': 0,
      'newest lost': 0,
      'usual prompt': 0,
      'usual late': 0,
      'usual lost': 0,
    };
    const peer = await stage.peer(undefined, silent);
    await stage.stream();
    expect([await stage.graded('round_trip'), await stage.graded('round_trip_jitter')]).toEqual([none, none]);

    await peer.answer(110_000, 200);
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });

    // an answer that is owed shows in the newest window before it has come
    const seen = peer.pings.length;
    stage.pass(25_000 + 11_000);
    await until(() => peer.payloads.length > seen, 'pings');
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });

    // and so does one that came late, with the jitter that it brings
    peer.client.socket.pong(peer.payloads[seen]!);
    await until(() => stage.roundTrips.length > seen, 'the answer');
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });

    await peer.answer(1_500_000, 35_000);
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest lost': 1, 'usual lost': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });
  });
});

describe('a session that subscribes to nothing', () => {
  const idle = (): boolean => stage.rooms.gateway.refused.get('idle') === 1;

  it('is closed with `idle` after 30 s', async () => {
    const peer = await stage.peer({});
    expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
    expect([await peer.client.closed(), peer.client.closeReason]).toEqual([4408, 'idle']);
    expect(peer.client.of('error')).toMatchObject([{ code: 'idle', detail: expect.stringContaining('idle.timeout') }]);
  });

  it('stays as long as it sends frames', async () => {
    const peer = await stage.peer({});
    for (let i = 0; i < 10; i++) {
      stage.pass(29_000);
      await peer.client.ask({ type: 'ping', ref: i });
    }
    expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
  });

  it('is closed in time also when its next ping is later', async () => {
    await begin({ idleTimeout: 5000 });
    await stage.peer({});
    expectTimes([stage.passUntil(idle, 'the close')], [5000]);
    await begin({ idleTimeout: 5000 });
    const peer = await stage.peer(undefined, silent);
    await peer.answer(26_000);
    await peer.client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a'] });
    expectTimes([stage.passUntil(idle, 'the close')], [5000]);
    expect(await peer.client.closed()).toBe(4408);
  });

  it('is one only from its last subscription on, whoever ended that', async () => {
    for (const end of [
      (peer: Peer) => peer.client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a'] }),
      async (peer: Peer) => {
        await stage.rooms.publish('a', '', { end: true });
        await peer.client.first('unsubscribed');
      },
    ]) {
      await begin();
      const peer = await stage.peer(undefined, silent);
      await peer.answer(101_000);
      await end(peer);
      expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
      expect(await peer.client.closed()).toBe(4408);
    }
  });
});
