import { type Envelope, type ErrorCode, matchFilter, type Problem, type ServerFrame } from '@tailrace/protocol';
import type { World } from './world.ts';

interface Reading {
  readonly filters: readonly string[];
  /** Everything up to here was sent. */
  at: Place;
  isPumping: boolean;
}

interface Place {
  readonly epoch: number;
  readonly offset: number;
}

export interface LogRecord {
  readonly offset: number;
  readonly time: number;
  readonly topic: string;
  readonly data: unknown;
}

/** One log and what the wire contract promises of it, in as few lines as it takes. */
export class SimulatedServer {
  log: LogRecord[] = [];
  epoch = 1;
  /** Records up to here are gone. */
  floor = 0;
  readonly sessions: Set<SimulatedSession> = new Set();
  readonly world: World;
  /** (producer, sequence) → offset. */
  readonly #taken = new Map<string, number>();

  constructor(world: World) {
    this.world = world;
  }

  get head(): number {
    return this.log.at(-1)?.offset ?? this.floor;
  }

  append(topic: string, data: unknown): number {
    const offset = this.head + 1;
    // a server that lost records is not back within a millisecond
    this.log.push({ offset, time: this.world.now() + this.epoch, topic, data });
    for (const session of this.sessions) session.pump();
    return offset;
  }

  /** In order, up to the first that fails: what says "refuse" is refused, and now and then all for a while. */
  publish(messages: readonly Record<string, unknown>[]): unknown[] {
    let failed = false;
    return messages.map(({ topic, data, producer, sequence }) => {
      if (failed) return { error: problem('not_attempted', 'later') };
      if (this.world.random() < 0.1) {
        failed = true;
        return { error: problem('overloaded', 'later') };
      }
      if (String(data).includes('refuse')) {
        failed = true;
        return { error: problem('publish_forbidden', 'never') };
      }
      const key = `${producer} ${sequence}`;
      const known = this.#taken.get(key);
      const offset = known ?? this.append(topic as string, data);
      this.#taken.set(key, offset);
      return { offset, cursor: token({ epoch: this.epoch, offset }), duplicate: known !== undefined };
    });
  }

  /** Retention. */
  trim(offset: number): void {
    this.floor = Math.max(this.floor, Math.min(offset, this.head));
    this.log = this.log.filter(record => record.offset > this.floor);
  }

  /** Loses what lies beyond, and everybody's connection. */
  rewind(offset: number): void {
    const kept = Math.max(offset, this.floor);
    this.log = this.log.filter(record => record.offset <= kept);
    if (this.log.length === 0) this.floor = kept;
    this.#starts.push({ epoch: ++this.epoch, after: kept });
  }

  readonly #starts: { readonly epoch: number; readonly after: number }[] = [{ epoch: 1, after: 0 }];

  /** Where reading goes on behind a cursor, and what is told of it. */
  resolve(cursor: string): { at: Place; told?: 'gap' | 'reset' } {
    const { epoch, offset } = placeOf(cursor);
    const ended = this.#starts.find(start => start.epoch > epoch && start.after < offset);
    if (ended !== undefined) {
      const after = Math.min(...this.#starts.filter(start => start.epoch > epoch).map(start => start.after));
      return { at: { epoch: this.epoch, offset: Math.max(after, this.floor) }, told: 'reset' };
    }
    if (offset < this.floor) return { at: { epoch: this.epoch, offset: this.floor }, told: 'gap' };
    return { at: { epoch: this.epoch, offset } };
  }
}

export const token = ({ epoch, offset }: Place): string => `k.${epoch}.${offset}`;

export function placeOf(cursor: string): Place {
  const [, epoch, offset] = cursor.split('.');
  return { epoch: Number(epoch), offset: Number(offset) };
}

/** What the server does for one connection, or for one request. */
export class SimulatedSession {
  readonly #server: SimulatedServer;
  readonly #send: (frame: ServerFrame) => void;
  readonly #readings = new Map<string, Reading>();
  #isOver = false;

  constructor(server: SimulatedServer, send: (frame: ServerFrame) => void) {
    this.#server = server;
    this.#send = send;
    server.sessions.add(this);
  }

  get isAtHead(): boolean {
    return [...this.#readings.values()].every(({ at }) => at.offset >= this.#server.head);
  }

  welcome(): void {
    this.#send({
      type: 'welcome',
      session: 's',
      server: 'simulated',
      protocol: 'tailrace.v1.json',
      heartbeat: 25_000,
      features: [],
      limits: {},
    });
    this.#beat();
  }

  subscribe(items: readonly { sub: string; filter: string | string[]; cursor?: string; from?: string }[]): void {
    const server = this.#server;
    for (const { sub, filter, cursor, from } of items) {
      const filters = typeof filter === 'string' ? [filter] : filter;
      if (this.#readings.has(sub)) throw new Error(`${sub} was asked for twice`);
      const { at, told } =
        cursor === undefined
          ? { at: { epoch: server.epoch, offset: from === 'earliest' ? server.floor : server.head } }
          : server.resolve(cursor);
      const granted = told === undefined ? token(at) : cursor!;
      this.#send({
        type: 'subscribed',
        sub,
        filter,
        cursor: granted,
        ...(cursor && { recovered: told === undefined }),
      });
      if (told === 'gap') this.#send({ type: 'gap', sub, after: granted, cursor: token(at), reason: 'trimmed' });
      if (told === 'reset') this.#send({ type: 'reset', sub, cursor: token(at), reason: 'epoch' });
      this.#readings.set(sub, { filters, at, isPumping: false });
    }
    this.pump();
  }

  unsubscribe(subs: readonly string[]): void {
    for (const sub of subs)
      if (this.#readings.delete(sub)) this.#send({ type: 'unsubscribed', sub });
      else this.#send({ type: 'error', sub, at: { sub }, ...problem('not_subscribed', 'never') });
  }

  /** Sends what there is, a few records at a time. */
  pump(): void {
    for (const [sub, reading] of this.#readings) this.#pumpOne(sub, reading);
  }

  end(): void {
    this.#isOver = true;
    this.#server.sessions.delete(this);
  }

  #pumpOne(sub: string, reading: Reading): void {
    if (reading.isPumping) return;
    reading.isPumping = true;
    const { world } = this.#server;
    world.after(world.random() * 30, () => {
      reading.isPumping = false;
      if (this.#isOver || this.#readings.get(sub) !== reading) return;
      this.#readOn(sub, reading);
      if (reading.at.offset < this.#server.head) this.#pumpOne(sub, reading);
    });
  }

  #readOn(sub: string, reading: Reading): void {
    const server = this.#server;
    const after = token(reading.at);
    if (reading.at.offset < server.floor) {
      reading.at = { epoch: server.epoch, offset: server.floor };
      this.#send({ type: 'gap', sub, after, cursor: token(reading.at), reason: 'trimmed' });
      return;
    }
    const most = 1 + Math.floor(server.world.random() * 5);
    const messages: Envelope[] = [];
    let { offset } = reading.at;
    for (const record of server.log) {
      if (record.offset <= offset) continue;
      if (messages.length === most) break;
      offset = record.offset;
      if (reading.filters.some(filter => matchFilter(filter, record.topic))) messages.push(record);
    }
    reading.at = { epoch: server.epoch, offset };
    const cursor = token(reading.at);
    if (messages.length > 0) this.#send({ type: 'messages', sub, after, cursor, messages });
    else if (cursor !== after) this.#send({ type: 'cursor', sub, after, cursor });
    if (offset >= server.head) this.#send({ type: 'live', sub, cursor });
  }

  #beat(): void {
    this.#server.world.after(25_000, () => {
      if (this.#isOver) return;
      this.#send({ type: 'heartbeat', time: 0 });
      this.#beat();
    });
  }
}

function problem(code: ErrorCode, retry: Problem['retry']): Problem {
  return { code, retry, title: '', status: 400, detail: '' };
}
