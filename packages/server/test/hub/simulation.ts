import type { ServerFrame } from '@tailrace/protocol';
import { defaultConfig } from '../../src/config/index.ts';
import {
  type Encoding,
  Hub,
  type HubOptions,
  type Outlet,
  type Session,
  type SessionOwner,
} from '../../src/hub/index.ts';
import type { Clock, Log, LogRecord, Random } from '../../src/log/index.ts';
import { hubOptions } from '../../src/room-options.ts';

/** Time and turns of the event loop, driven by a test: nothing happens unless `run` or `advance` is called. */
export class SimulatedClock implements Clock {
  ms = 1_700_000_000_000;
  /** What reading the clock costs, ms: the larger, the sooner slices end. */
  readCost = 0.01;
  #soon: (() => void)[] = [];
  readonly #timers = new Set<{ at: number; every: number; task: () => void }>();

  now(): number {
    return Math.floor(this.ms);
  }
  monotonic(): number {
    this.ms += this.readCost;
    return this.ms;
  }
  soon(task: () => void): void {
    this.#soon.push(task);
  }
  every(every: number, task: () => void): () => void {
    return this.#add(every, every, task);
  }
  after(delay: number, task: () => void): () => void {
    return this.#add(delay, 0, task);
  }
  #add(delay: number, every: number, task: () => void): () => void {
    const timer = { at: this.ms + delay, every, task };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  /** The same time for a log, whose commits shall not wait for `turn`. */
  get forLog(): Clock {
    return {
      now: () => this.now(),
      monotonic: () => this.monotonic(),
      soon: queueMicrotask,
      every: (ms, task) => this.every(ms, task),
      after: (ms, task) => this.after(ms, task),
    };
  }
  /** Runs one turn of the loop; false when nothing was scheduled. */
  turn(): boolean {
    const tasks = this.#soon;
    this.#soon = [];
    for (const task of tasks) task();
    return tasks.length > 0;
  }
  advance(ms: number): void {
    this.ms += ms;
    for (const timer of [...this.#timers]) {
      if (timer.at > this.ms) continue;
      if (timer.every > 0) timer.at = this.ms + timer.every;
      else this.#timers.delete(timer);
      timer.task();
    }
  }
}

/** Lets promises settle; the logs under these tests do no I/O beyond the thread pool when `turns` is larger. */
export async function settle(turns = 3): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise<void>(resolve => setImmediate(resolve));
}

/** A seeded generator (mulberry32), so that a failing history can be run again. */
export function seeded(seed: number): Random & { int(below: number): number } {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return { next, int, id: length => Array.from({ length }, () => 'abcdefghij0123456789'[int(20)]).join('') };
}

export type Received =
  | {
      readonly kind: 'records';
      readonly offsets: readonly number[];
      readonly topics: readonly string[];
      readonly stored: boolean;
    }
  | {
      readonly kind: 'messages';
      readonly sub: string;
      readonly after?: string;
      readonly cursor?: string;
      readonly offsets: readonly number[];
      readonly stored: boolean;
    }
  | { readonly kind: 'frame'; readonly frame: ServerFrame };

const lines = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value)}\n`);
const summary = (records: readonly LogRecord[], stored: boolean): object => ({
  offsets: records.map(record => record.offset),
  topics: records.map(record => record.topic),
  stored,
});

/** Like SSE: bytes do not name the reader. */
export const plainEncoding: Encoding = {
  name: 'plain',
  wrap: null,
  body: (records, stored) => lines({ kind: 'records', ...summary(records, stored) }),
  notice: frame => lines({ kind: 'frame', frame }),
};

/** Like `plain`, with bytes as many as the payloads have. */
export const bulkyEncoding: Encoding = {
  name: 'bulky',
  wrap: null,
  body: (records, stored) =>
    lines({
      kind: 'records',
      ...summary(records, stored),
      fill: records.map(record => 'x'.repeat(record.data.length)),
    }),
  notice: frame => lines({ kind: 'frame', frame }),
};

/** Like WebSocket: label and chain around a shared body. */
export const chainedEncoding: Encoding = {
  name: 'chained',
  body: (records, stored) => Buffer.from(JSON.stringify(summary(records, stored)).slice(1, -1)),
  wrap: (body, sub, after, cursor) =>
    Buffer.from(
      `{"kind":"messages","sub":${JSON.stringify(sub)}${after === undefined ? '' : `,"after":"${after}","cursor":"${cursor}"`},${body.toString()}}\n`,
    ),
  notice: frame => lines({ kind: 'frame', frame }),
};

/** A socket whose kernel buffer takes `room` bytes; what is beyond is unfinished until `drain`. */
export class SimulatedOutlet implements Outlet {
  readonly bytes: Buffer[] = [];
  room: number;
  unfinished = 0;
  ended = false;
  #waiters: { finished(): void }[] = [];

  constructor(room: number = Number.POSITIVE_INFINITY) {
    this.room = room;
  }

  get left(): number {
    return this.unfinished;
  }

  write(buffer: Buffer): void {
    if (this.ended) return;
    this.bytes.push(buffer);
    this.room -= buffer.length;
    if (this.room < 0) this.unfinished += buffer.length;
  }
  whenFinished(waiter: { finished(): void }): void {
    this.#waiters.push(waiter);
  }
  /** The peer reads a part of the buffer that is unfinished. */
  take(bytes: number): void {
    this.unfinished = Math.max(1, this.unfinished - bytes);
  }
  /** The peer reads everything; the kernel then takes `room` bytes more. */
  drain(room: number): void {
    this.room = room;
    this.unfinished = 0;
    const waiters = this.#waiters;
    this.#waiters = [];
    if (!this.ended) for (const waiter of waiters) waiter.finished();
  }
  end(last?: Buffer): void {
    if (last !== undefined) this.write(last);
    this.ended = true;
  }
  destroy(): void {
    this.ended = true;
  }
  received(): Received[] {
    return this.bytes
      .flatMap(buffer => buffer.toString().split('\n'))
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Received);
  }
}

/** Closes what the hub cuts, as a gateway does. */
export class SimulatedOwner implements SessionOwner {
  readonly cuts: string[] = [];
  readonly #hub: () => Hub;
  constructor(hub: () => Hub) {
    this.#hub = hub;
  }
  onCut(session: Session, reason: string): void {
    this.cuts.push(reason);
    this.#hub().closeSession(session);
    session.outlet.destroy();
  }
  onEnded(_session: Session, subscription: Parameters<SessionOwner['onEnded']>[1]): void {
    this.#hub().unsubscribe(subscription);
  }
}

export function simulatedHub(log: Log, clock: SimulatedClock, random: Random, options: Partial<HubOptions> = {}): Hub {
  return new Hub({
    log,
    clock,
    random,
    ...hubOptions(defaultConfig()),
    lagLimit: 1_000_000,
    heartbeat: 1000,
    onReadError: error => {
      throw error;
    },
    ...options,
  });
}
