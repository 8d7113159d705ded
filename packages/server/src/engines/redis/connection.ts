import { Redis } from 'ioredis';
import { systemClock } from '../../log/clock.ts';
import type { LogReport } from '../../log/report.ts';
import { isCluster, readAddress, readClusterAddress } from './address.ts';
import { clusterConnector } from './cluster-connector.ts';
import { QuietSentinels } from './sentinels.ts';

/** How long a server may take to answer one command before its connection is given up, ms. */
export const answerTimeout = 5000;

const connectTimeout = 5000;
/** ms until the next attempt to connect: doubled up to the last. */
const retryFirst = 50;
const retryMost = 1000;
/** A connection that lasts for so long is back, ms: one that comes and goes is told once. */
const steadyAfter = 500;

/**
 * One connection to Redis, made again whenever it is lost. Commands are never queued nor sent a second time by the client
 * library: what was under way when the connection went rejects, and who sent it knows whether it may be repeated.
 */
export class RedisConnection {
  readonly redis: Redis;
  readonly #report: (report: LogReport) => void;
  #down = false;
  #stopBack: () => void = () => {};
  #closed = false;
  #lastError = '';
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  /** `key`: one of those that are used; those of a log are on one node of a cluster. */
  constructor(url: string, key: string, role: string, report: (report: LogReport) => void) {
    this.#report = report;
    this.redis = clientOf(url, key, role);
    this.redis.on('ready', () => this.#ready());
    this.redis.on('error', (error: Error) => {
      this.#lastError = error.message;
    });
    this.redis.on('close', () => this.#lost());
    // a channel has gone to another node of the cluster
    this.redis.on('moved', () => this.renew());
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get isReady(): boolean {
    return this.redis.status === 'ready';
  }

  get lastError(): string {
    return this.#lastError;
  }

  /** Resolves when commands can be sent; rejects when it is closed. */
  ready(): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the connection is closed'));
    if (this.isReady) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Runs a command as soon as it can be sent. A server that is silent for longer than it may be costs the connection. */
  async ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    await this.ready();
    const stopWatch = systemClock.after(answerTimeout, () => this.renew());
    try {
      return await command(this.redis);
    } finally {
      stopWatch();
    }
  }

  /** Gives up the connection as it is and makes another: what is under way on it rejects. */
  renew(): void {
    if (!this.#closed && this.redis.status !== 'connecting') this.redis.disconnect(true);
  }

  close(): void {
    this.#stopBack();
    this.#closed = true;
    this.redis.disconnect();
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection is closed'));
  }

  #ready(): void {
    if (this.#down) this.#stopBack = systemClock.after(steadyAfter, () => this.#back());
    this.#lastError = '';
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #back(): void {
    this.#down = false;
    this.#report({ level: 'info', kind: 'engine_back', message: 'Redis is back' });
  }

  #lost(): void {
    this.#stopBack();
    if (this.#down || this.#closed) return;
    this.#down = true;
    const why = this.#lastError === '' ? 'it closed the connection' : this.#lastError;
    this.#report({
      level: 'warn',
      kind: 'engine_lost',
      message: `Redis is lost: ${why}. It is tried again until it answers; what is published waits, subscribers stay`,
    });
  }
}

function clientOf(url: string, key: string, role: string): Redis {
  const options = {
    protocol: 2 as const,
    connectionName: `tailrace ${role}`,
    connectTimeout,
    // one that is given up is not waited for
    disconnectTimeout: 100,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // what the library does by itself nobody catches when the connection goes again: that would end the process
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times: number) => Math.min(retryMost, retryFirst * 2 ** Math.min(times, 10)),
    reconnectOnError: (error: Error) => leadsElsewhere(error.message),
  };
  if (isCluster(url)) {
    const { nodes, ...user } = readClusterAddress(url);
    return new Redis({ ...options, ...user, Connector: clusterConnector({ nodes, ...user }, key) });
  }
  const address = readAddress(url);
  if ('sentinels' in address) return new Redis({ ...options, ...address, Connector: QuietSentinels });
  return new Redis({ ...options, ...address });
}

/** Whether a primary has become a replica, which refuses writes and lets go whoever waits: the address may lead elsewhere by now. */
export function leadsElsewhere(refusal: string): boolean {
  return /^(READONLY|UNBLOCKED|MASTERDOWN|MOVED|CLUSTERDOWN)/.test(refusal);
}

/** Whether the command may have failed only because of the connection or a server that is starting or changing roles. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // an error of the server begins with its code
  if (!/^[A-Z]{3,} /.test(error.message)) return true;
  return /^(LOADING|READONLY|UNBLOCKED|MASTERDOWN|BUSY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|NOREPLICAS) /.test(error.message);
}
