import type { GroupStore } from './group-store.ts';

/** What a log has beside it when several nodes share it. */
export interface SharedLog {
  /** Undefined for all partitions of a log but the first. */
  readonly nodes: LogNodes | undefined;
  readonly groups: GroupStore;
  /** How far this node is behind what the server has, partition by partition. */
  readonly tails: readonly TailLag[];
}

/** The nodes of a log, as this one was told within the last half minute. */
export interface LogNodes {
  /** Those that were heard of within 90 s, this one first, the others from the oldest on. */
  readonly all: readonly LogNode[];
  /** What the others are to know of this one. */
  introduce(about: NodeAbout): void;
}

export interface NodeAbout {
  /** Name of its machine. */
  readonly name: string;
  /** Where it listens, `host:port`; '' for one that does not. */
  readonly address: string;
  readonly version: string;
}

export interface LogNode extends NodeAbout {
  /** Another with each start. */
  readonly id: string;
  /** Of its start, ms since 1970 UTC. */
  readonly since: number;
  /** ms since it was heard of; 0 for this one. */
  readonly silence: number;
  /** The newest record that had come to it by then, and how many more the server had. */
  readonly head: number;
  readonly lag: number;
}

export interface TailLag {
  /** `0` where there is one. */
  readonly partition: string;
  /** Records that the server has and that have not come to this node, as far as it knows. */
  readonly records: number;
  /** How long the one of them that it has known of for longest has not come, ms. */
  readonly ms: number;
}
