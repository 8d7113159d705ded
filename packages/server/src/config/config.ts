import type { Durability } from '@tailrace/protocol';

/**
 * Every setting, checked and in base units: durations in integer ms, sizes in bytes. What each means, its default and
 * its bounds stand in `schema.ts`, from which docs/settings.md and `--help` are made; a type test keeps both equal.
 *
 * Only `cli/`, `server.ts` and `index.ts` import this: rooms take plain option values, so that none depends on how
 * settings are spelled.
 */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly data: string;
  /** `disk`, `memory`, or the URL of a shared engine. */
  readonly engine: string;
  readonly redis: { readonly name: string; readonly partitions: number; readonly replicas: number };
  readonly kafka: {
    readonly name: string;
    readonly partitions: number;
    readonly replicas: number;
    readonly compression: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
    readonly sasl: 'plain' | 'scram-sha-256' | 'scram-sha-512';
    readonly bridge: string;
  };
  readonly nats: {
    readonly name: string;
    readonly partitions: number;
    readonly replicas: number;
    readonly synced: boolean;
  };
  readonly durability: 'fsync' | 'written';
  readonly insecure: boolean;
  readonly origins: readonly string[];
  readonly hosts: readonly string[];
  readonly heartbeat: number;
  readonly sse: { readonly heartbeat: number | null };
  readonly websocket: { readonly heartbeat: number | null };
  readonly log: { readonly level: LogLevel };
  readonly segment: { readonly bytes: number };
  readonly hot: { readonly bytes: number };
  readonly retention: { readonly age: number | null; readonly bytes: number | null; readonly grace: number };
  readonly scrub: { readonly interval: number; readonly rate: number };
  readonly tombstone: { readonly age: number };
  readonly dedupe: { readonly ids: number; readonly age: number; readonly limit: number; readonly producers: number };
  readonly ended: { readonly topics: number };
  readonly pending: { readonly bytes: number; readonly records: number };
  readonly keys: { readonly bytes: number };
  readonly lag: { readonly target: number; readonly limit: number };
  readonly pinned: { readonly max: number };
  readonly stall: { readonly max: number };
  readonly connect: { readonly timeout: number };
  readonly idle: { readonly timeout: number };
  readonly header: { readonly timeout: number };
  readonly body: { readonly timeout: number };
  readonly poll: { readonly wait: number; readonly max: number };
  readonly publish: { readonly deadline: number };
  readonly reconnect: { readonly rate: number };
  readonly drain: { readonly window: number; readonly timeout: number };
  readonly limits: Limits;
  readonly spool: { readonly bytes: number };
  readonly rules: readonly TopicRule[];
  readonly bridge: readonly BridgeRule[];
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface Limits {
  readonly connections: number;
  readonly header: number;
  readonly filters: number;
  readonly subscriptions: number;
  readonly frame: number;
  readonly items: number;
  readonly message: number;
  readonly body: number;
  readonly topic: number;
  readonly levels: number;
  readonly messageHeaders: number;
}

/** Settings for the topics that `filter` matches. For each setting the first rule that matches and has it decides. */
export interface TopicRule {
  readonly filter: string;
  readonly durability?: Durability | undefined;
  readonly lag?: LagRule | undefined;
  readonly keep?: KeepRule | undefined;
  /** While a shared engine is away, publishes wait on this node's disk. */
  readonly spool?: true | undefined;
}

/** A topic of Kafka whose records are given to subscribers of topics here. */
export interface BridgeRule {
  /** `kafka:orders`. */
  readonly from: string;
  /** `orders/{key}`: a level may stand for the key of a record, or for its partition. */
  readonly to: string;
}

/** What is kept of a topic, one of both: its newest records, or the newest record of each of its keys. */
export interface KeepRule {
  readonly last?: number | undefined;
  readonly lastPerKey?: true | undefined;
}

/** What becomes of a subscription that has lagged for longer than `after` ms. */
export interface LagRule {
  readonly policy: 'replay' | 'last' | 'disconnect';
  readonly after: number;
}

/** Settings as people write them, as many as they like, with "30s" or "64MiB" wherever a number stands. */
export type ConfigInput = Input<Config>;

type Input<T> = T extends number
  ? number | string
  : T extends readonly (infer Item)[]
    ? readonly Input<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]?: Input<T[Key]> | undefined }
      : T;
