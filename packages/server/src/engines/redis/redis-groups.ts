import { filterSet, TailraceError } from '@tailrace/protocol';
import type { Redis } from 'ioredis';
import type { Clock } from '../../log/clock.ts';
import type { Group, GroupOptions, GroupStore } from '../../log/group-store.ts';
import type { Log } from '../../log/log.ts';
import { LedgerGroup } from '../ledger-group.ts';
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
  readonly log: Log;
  /** Waits until replicas have what was written over this connection. */
  readonly replicated: (redis: Redis) => Promise<void>;
}

const nameMost = 256;
/** How often the groups of this node are asked where they stand, for whoever watches, ms. */
const statusEvery = 15_000;

/** The groups of a log in Redis. */
export class RedisGroups implements GroupStore {
  readonly #parts: RedisGroupsParts;
  readonly #groups = new Map<string, Promise<LedgerGroup>>();
  readonly #opened = new Set<LedgerGroup>();
  #connection: RedisConnection | undefined;
  #number = 0;
  #stopStatus: () => void = () => {};

  constructor(parts: RedisGroupsParts) {
    this.#parts = parts;
  }

  get opened(): readonly Group[] {
    return [...this.#opened];
  }

  open(name: string, options: GroupOptions): Promise<Group> {
    if (name === '' || name.length > nameMost)
      return Promise.reject(new TailraceError('bad_request', `the name of a group has 1 to ${nameMost} characters`));
    const known = this.#groups.get(name);
    if (known !== undefined) return known.then(group => sameFilters(group, options));
    const opening = this.#open(name, options);
    this.#groups.set(name, opening);
    opening.catch(() => this.#groups.delete(name));
    return opening;
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

  async names(): Promise<readonly string[]> {
    return (await this.#connected().ask(redis => redis.smembers(this.#parts.keys.groups))).sort();
  }

  close(): void {
    this.#stopStatus();
    this.#connection?.close();
  }

  async #open(name: string, options: GroupOptions): Promise<LedgerGroup> {
    const { clock, keys, node, known, log, replicated } = this.#parts;
    // throws for what is no filter before the server hears of it
    filterSet(options.filters);
    const connection = this.#connected();
    const ledger = new GroupCalls({
      connection,
      clock,
      keys,
      group: name,
      options,
      node,
      known,
      nextNumber: () => ++this.#number,
      replicated,
    });
    const next = await ledger.open(options.after);
    const group = new LedgerGroup({
      name,
      options,
      next,
      log,
      ledger,
      onClose: () => {
        this.#opened.delete(group);
        this.#groups.delete(name);
      },
    });
    this.#opened.add(group);
    group.status().catch(() => {});
    return group;
  }

  #connected(): RedisConnection {
    if (this.#connection === undefined) {
      this.#connection = this.#parts.connect();
      this.#stopStatus = this.#parts.clock.every(statusEvery, () => {
        for (const group of this.#opened) group.status().catch(() => {});
      });
    }
    return this.#connection;
  }
}

function sameFilters(group: LedgerGroup, { filters }: GroupOptions): LedgerGroup {
  if ([...filters].sort().join('\n') === [...group.filters].sort().join('\n')) return group;
  throw new TailraceError(
    'bad_request',
    `group "${group.name}" is there with other filters (${group.filters.join(', ')}): name them, or take another name`,
  );
}
