// What a benchmark row is: entries that take turns, the figures they give, the goals that compare them.
import type { CpuShares } from './cpu.ts';
import type { Count } from './load/fanout.ts';

export interface Options {
  repeats: number;
  windowMs: number;
  warmUpMs: number;
  /** Connections of the memory scenarios. */
  idleConnections: number;
  /** Deliveries of `hundred-million`. */
  manyDeliveries: number;
  /** Bytes that are published beside stalled readers. */
  flowBytes: number;
  /** Topics and bytes of the log that the log-… scenarios read. */
  historyTopics: number;
  historyBytes: number;
  /** Directory in which that log is kept for the next run; undefined: it goes with this one. */
  data: string | undefined;
  /** Measure nchan too. */
  peers: boolean;
  /** Directory for CPU profiles of the server. */
  profile: string | undefined;
}

/** Subscribers of one topic wherever a scenario does not say otherwise. */
export const subscriberCount = 1_000;

/** One repeat of one entry. */
export interface Sample {
  /** Name (with its unit) → value. */
  figures: Record<string, number>;
  cpu?: CpuShares;
  count?: Count;
  /** Publishes that were answered with an error, such as 503 by the brake. */
  refused?: number;
  /** Streams that the server ended early. */
  lost?: number;
}

export interface Entry {
  name: string;
  measure(options: Options): Promise<Sample>;
}

/** A bound on a figure of one entry, or on its ratio to the same figure of another. Without bounds: for information. */
export interface Goal {
  figure: string;
  of: string;
  to?: string;
  atLeast?: number;
  atMost?: number;
}

export interface Scenario {
  name: string;
  about: string;
  entries: readonly Entry[];
  goals: readonly Goal[];
  /** Only when it is named, and once, however many repeats the others get. */
  long?: boolean;
}
