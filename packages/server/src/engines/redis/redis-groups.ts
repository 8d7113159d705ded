import type { Redis } from 'ioredis';
import type { Clock } from '../../log/clock.ts';
import type { GroupOptions } from '../../log/group-store.ts';
import type { GroupLedgers, OpenedLedger } from '../ledger-groups.ts';
import type { RedisConnection } from './connection.ts';
import { GroupCalls } from './group-calls.ts';
import type { Keys } from './keys.ts';

export interface RedisGroupsParts {
  /** Made when the first group is opened: a log without groups needs none. */
  readonly connect: () => RedisConnection;
  readonly clock: Clock;
  readonly keys: Keys;
  readonly node: string;
  readonly known: () => readonly (string | number)[];
  /** Waits until replicas have what was written over this connection. */
  readonly replicated: (redis: Redis) => Promise<void>;
}

/** The groups of a log in Redis. */
export class RedisGroups implements GroupLedgers {
  readonly #parts: RedisGroupsParts;
  #connection: RedisConnection | undefined;
  #number = 0;

  constructor(parts: RedisGroupsParts) {
    this.#parts = parts;
  }

  async open(group: string, options: GroupOptions): Promise<OpenedLedger> {
    const { clock, keys, node, known, replicated } = this.#parts;
    const ledger = new GroupCalls({
      connection: this.#connected(),
      ...{ clock, keys, group, options, node, known, replicated },
      nextNumber: () => ++this.#number,
    });
    return { ledger, next: await ledger.open(options.after) };
  }

  async remove(name: string): Promise<void> {
    const { keys } = this.#parts;
    await this.#connected().ask(redis =>
      redis
        .multi()
        .del(...keys.ofGroup(name))
        .srem(keys.groups, name)
        .exec(),
    );
  }

  names(): Promise<readonly string[]> {
    return this.#connected().ask(redis => redis.smembers(this.#parts.keys.groups));
  }

  async close(): Promise<void> {
    this.#connection?.close();
  }

  #connected(): RedisConnection {
    this.#connection ??= this.#parts.connect();
    return this.#connection;
  }
}
