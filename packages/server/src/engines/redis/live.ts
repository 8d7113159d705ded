import type { Message } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import type { LiveChannel } from '../../log/log.ts';
import type { RecordSource } from '../../log/record.ts';
import { isPacked, packRecord, unpackRecord } from '../packed-record.ts';
import type { RedisConnection } from './connection.ts';

/** Id of a node: so many characters in front of its messages, then their number. */
export const nodeBytes = 16;
const headBytes = nodeBytes + 8;
/** Nodes that are remembered, those heard of last; every start of a server is one. */
const nodesMost = 1000;
/** A connection on which nothing comes may be dead: nobody writes to it, so that TCP would not notice. */
const pingEvery = 5000;

export interface RedisLiveParts {
  readonly sender: RedisConnection;
  readonly receiver: RedisConnection;
  readonly clock: Clock;
  readonly channel: string;
  /** The channel is that of one node of a cluster: no other hears of it. */
  readonly isSharded: boolean;
  /** Id of this node. */
  readonly node: string;
}

/**
 * Messages of class `none` over Redis Pub/Sub, which keeps nothing and promises nothing. Each node numbers what it sends, so
 * that the others know what they missed.
 */
export class RedisLive implements LiveChannel {
  lost = 0;
  readonly #parts: RedisLiveParts;
  readonly #stopPings: () => void;
  readonly #listeners = new Set<(message: RecordSource) => void>();
  /** Number of the newest message of each other node. */
  readonly #seen = new Map<string, number>();
  #number = 0;

  constructor(parts: RedisLiveParts) {
    this.#parts = parts;
    const { receiver, clock } = parts;
    for (const event of ['messageBuffer', 'smessageBuffer'])
      receiver.redis.on(event, (_: Buffer, bytes: Buffer) => this.#take(bytes));
    // nobody else tells of it, and the subscription comes back with the connection
    receiver.redis.on('ready', () => void this.#subscribe().catch(() => {}));
    this.#stopPings = clock.every(pingEvery, () => this.#ping());
  }

  /** Resolves when what other nodes send arrives. */
  async ready(): Promise<void> {
    await this.#parts.receiver.ready();
    await this.#subscribe();
  }

  send(message: Message): void {
    const { sender, channel, isSharded, node } = this.#parts;
    const head = Buffer.alloc(headBytes);
    head.write(node, 0, 'latin1');
    head.writeDoubleLE(++this.#number, nodeBytes);
    if (!sender.isReady) return;
    // the number is used up: whoever misses the message learns it from the next
    sender.redis
      .call(isSharded ? 'SPUBLISH' : 'PUBLISH', channel, Buffer.concat([head, packRecord(message)]))
      .catch(() => {});
  }

  listen(listener: (message: RecordSource) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  close(): void {
    this.#stopPings();
  }

  #subscribe(): Promise<unknown> {
    const { receiver, channel, isSharded } = this.#parts;
    return isSharded ? receiver.redis.ssubscribe(channel) : receiver.redis.subscribe(channel);
  }

  #ping(): void {
    const { receiver } = this.#parts;
    if (receiver.isReady) receiver.ask(redis => redis.ping()).catch(() => {});
  }

  #take(bytes: Buffer): void {
    const packed = bytes.subarray(headBytes);
    if (bytes.length < headBytes || !isPacked(packed)) return;
    const node = bytes.toString('latin1', 0, nodeBytes);
    if (node === this.#parts.node) return;
    const number = bytes.readDoubleLE(nodeBytes);
    const seen = this.#seen.get(node);
    // whatever a node sent before this one knew of it is not missed
    if (seen !== undefined && number > seen + 1) this.lost += number - seen - 1;
    this.#seen.delete(node);
    this.#seen.set(node, number);
    if (this.#seen.size > nodesMost) this.#seen.delete(this.#seen.keys().next().value!);
    const record = unpackRecord({ offset: 0, time: 0, bytes: packed });
    for (const listener of this.#listeners) listener(record);
  }
}
