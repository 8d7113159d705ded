import type { Message } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import type { LiveChannel } from '../../log/log.ts';
import type { RecordSource } from '../../log/record.ts';
import { NumberedMessages } from '../numbered-messages.ts';
import type { RedisConnection } from './connection.ts';

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

/** Messages of class `none` over Redis Pub/Sub. */
export class RedisLive implements LiveChannel {
  readonly #parts: RedisLiveParts;
  readonly #messages: NumberedMessages;
  readonly #stopPings: () => void;

  constructor(parts: RedisLiveParts) {
    this.#parts = parts;
    this.#messages = new NumberedMessages(parts.node);
    const { receiver, clock } = parts;
    for (const event of ['messageBuffer', 'smessageBuffer'])
      receiver.redis.on(event, (_: Buffer, bytes: Buffer) => this.#messages.take(bytes));
    // nobody else tells of it, and the subscription comes back with the connection
    receiver.redis.on('ready', () => void this.#subscribe().catch(() => {}));
    this.#stopPings = clock.every(pingEvery, () => this.#ping());
  }

  get lost(): number {
    return this.#messages.lost;
  }

  /** Resolves when what other nodes send arrives. */
  async ready(): Promise<void> {
    await this.#parts.receiver.ready();
    await this.#subscribe();
  }

  send(message: Message): void {
    const { sender, channel, isSharded } = this.#parts;
    const bytes = this.#messages.pack(message);
    if (!sender.isReady) return;
    sender.redis.call(isSharded ? 'SPUBLISH' : 'PUBLISH', channel, bytes).catch(() => {});
  }

  listen(listener: (message: RecordSource) => void): () => void {
    return this.#messages.listen(listener);
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
}
