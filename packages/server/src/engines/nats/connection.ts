import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect, errors, type NatsConnection } from '@nats-io/transport-node';
import { systemClock } from '../../log/clock.ts';
import type { LogReport } from '../../log/report.ts';
import { readAddress } from './address.ts';
import { refusalOf } from './refusals.ts';

/** How long a server may take to answer one request before its connection is given up, ms. */
export const answerTimeout = 5000;

const connectTimeout = 2000;
const pingInterval = 2000;
/** ms until the next attempt to connect: doubled up to the last. */
const retryFirst = 50;
const retryMost = 1000;

/** What was asked died with its connection, of which the connection itself tells. */
export class ConnectionLost extends Error {}

/** One connection as long as it lasts: what is asked over it dies with it, and nothing of it is sent over the next. */
export interface Line {
  readonly nats: NatsConnection;
  readonly jetstream: JetStreamManager;
  readonly isLost: boolean;
  /** Resolves when it is lost. */
  readonly lost: Promise<void>;
  /** Who is told so too, and can be forgotten before: what waits for `lost` is held until then. */
  readonly onLost: Set<() => void>;
}

/**
 * A connection to NATS, made again whenever it is lost. Not by the client library, which would send what waited before
 * anybody could ask whether the server is still the one that it was.
 */
export class KeptConnection {
  readonly #url: string;
  readonly #name: string;
  readonly #report: (report: LogReport) => void;
  readonly #kept: Promise<void>;
  #line: Line | undefined;
  #drop: () => void = () => {};
  #stopPause: () => void = () => {};
  #down = false;
  #wasThere = false;
  #closed = false;
  #lastError = '';
  #waiting: { resolve: (line: Line) => void; reject: (error: Error) => void }[] = [];

  constructor(url: string, role: string, report: (report: LogReport) => void) {
    this.#url = url;
    this.#name = `tailrace ${role}`;
    this.#report = report;
    this.#kept = this.#keep();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get lastError(): string {
    return this.#lastError;
  }

  /** Resolves when it can be asked; rejects when it is closed. */
  ready(): Promise<Line> {
    if (this.#closed) return Promise.reject(new Error('the connection is closed'));
    if (this.#line !== undefined) return Promise.resolve(this.#line);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Asks as soon as that can be done. */
  async ask<T>(question: (line: Line) => Promise<T>): Promise<T> {
    return this.askOn(await this.ready(), question);
  }

  /** Asks over this line; one that is silent for longer than it may be is given up. */
  async askOn<T>(line: Line, question: (line: Line) => Promise<T>): Promise<T> {
    const stopWatch = systemClock.after(answerTimeout, () => this.renew(line));
    let tell = (): void => {};
    try {
      return await new Promise<T>((resolve, reject) => {
        tell = () => reject(new ConnectionLost(this.#closed ? 'the connection is closed' : 'the connection is lost'));
        line.onLost.add(tell);
        if (line.isLost) tell();
        else question(line).then(resolve, reject);
      });
    } finally {
      line.onLost.delete(tell);
      stopWatch();
    }
  }

  /** Gives up this line, if it still is the one, and makes another: what is under way on it rejects. */
  renew(line: Line): void {
    if (this.#line === line) this.#drop();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#drop();
    this.#stopPause();
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection is closed'));
    await this.#kept;
  }

  async #keep(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt++) {
      const connection = await this.#connect();
      if (connection !== undefined) {
        attempt = 0;
        await this.#last(connection);
      }
      if (this.#closed) return;
      this.#lostIt();
      await new Promise<void>(resolve => {
        const stop = systemClock.after(Math.min(retryMost, retryFirst * 2 ** Math.min(attempt, 10)), resolve);
        this.#stopPause = () => {
          stop();
          resolve();
        };
      });
    }
  }

  async #connect(): Promise<NatsConnection | undefined> {
    try {
      return await connect({
        ...readAddress(this.#url),
        name: this.#name,
        timeout: connectTimeout,
        reconnect: false,
        pingInterval,
        maxPingOut: 2,
      });
    } catch (error) {
      const refusal = refusalOf(error as Error);
      this.#lastError = refusal ?? (error as Error).message;
      // who was let in once waits: a server may be set up anew
      if (refusal !== undefined && !this.#wasThere)
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(refusal));
      return undefined;
    }
  }

  /** Resolves when this connection is over. */
  async #last(connection: NatsConnection): Promise<void> {
    const jetstream = await jetstreamManager(connection, { checkAPI: false, timeout: answerTimeout });
    let isLost = this.#closed;
    const onLost = new Set<() => void>();
    const dropped = new Promise<void>(resolve => {
      this.#drop = resolve;
    });
    const lost = Promise.race([
      dropped,
      connection.closed().then(error => {
        if (error instanceof Error) this.#lastError = error.message;
      }),
    ]).then(() => {
      isLost = true;
      for (const tell of onLost) tell();
    });
    if (!isLost) {
      this.#line = {
        nats: connection,
        jetstream,
        lost,
        onLost,
        get isLost() {
          return isLost;
        },
      };
      if (this.#down) this.#report({ level: 'info', kind: 'engine_back', message: 'NATS is back' });
      this.#down = false;
      this.#wasThere = true;
      for (const { resolve } of this.#waiting.splice(0)) resolve(this.#line);
      await lost;
      this.#line = undefined;
    }
    // one that is given up is not waited for
    void connection.close();
  }

  #lostIt(): void {
    if (this.#down) return;
    this.#down = true;
    const why = this.#lastError === '' ? 'it closed the connection' : this.#lastError;
    this.#report({
      level: 'warn',
      kind: 'engine_lost',
      message: `NATS is lost: ${why}. It is tried again until it answers; what is published waits, subscribers stay`,
    });
  }
}

/** Nobody there takes such requests: JetStream is starting, or the stream has no leader, or there is none. */
export function hasNoResponders(error: unknown): boolean {
  return error instanceof errors.RequestError && error.isNoResponders();
}
