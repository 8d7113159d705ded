import { crc32 } from 'node:zlib';
import { type FilterSet, matchFilter } from '@tailrace/protocol';
import { covers, overlap } from '../filters.ts';
import type { Log } from '../log.ts';

/** The partition of a topic: by the CRC-32 of its name as UTF-8, which every node and every release must compute alike. */
export function partitionOf(topic: string, partitions: number): number {
  return crc32(topic) % partitions;
}

/** A partition to which others write, beside those that are appended to. */
export interface BridgedPartition {
  readonly log: Log;
  /** All its topics match one of these, and no topic that does is appended to. */
  readonly filters: readonly string[];
  /** Set where it has one topic only, which other partitions may have too. */
  readonly topic: string | undefined;
  /** What cursors call it, on every node: at least `bridgedFrom`. Partitions of one source follow each other in it. */
  readonly number: number;
  /** Of where it comes from, 20 bits: another when that was deleted and made anew. */
  readonly stamp: number;
  /** For people: `orders/0`. */
  readonly source: string;
}

/** Numbers of bridged partitions, as cursors name them; the others are counted from 0. */
export const bridgedFrom = 4096;
/** So many numbers has one source. */
export const numbersPerSource = 4096;

/** Which topics are in which partitions: first those that are appended to, by the topic's hash, then those that others write. */
export class Spread {
  /** Partitions that are appended to. */
  readonly own: number;
  readonly #bridged: readonly BridgedPartition[];
  readonly #claims: readonly string[];

  constructor(own: number, bridged: readonly BridgedPartition[] = []) {
    this.own = own;
    this.#bridged = bridged;
    this.#claims = [...new Set(bridged.flatMap(({ filters }) => filters))];
  }

  /** Where a topic is appended. */
  partitionOf(topic: string): number {
    return partitionOf(topic, this.own);
  }

  /** Others write it. */
  isBridged(topic: string): boolean {
    return this.#claims.some(filter => matchFilter(filter, topic));
  }

  /** Those that may have records of a topic, ascending. */
  partitionsOf(topic: string): readonly number[] {
    if (!this.isBridged(topic)) return [this.partitionOf(topic)];
    return this.#bridgedWhere(filter => matchFilter(filter, topic));
  }

  /** Those in which something may match, ascending. */
  partitionsFor(filters: FilterSet): readonly number[] {
    const own = this.#ownFor(filters);
    if (this.#bridged.length === 0) return own;
    return [...own, ...this.#bridgedWhere(claim => filters.filters.some(filter => overlap(claim, filter)))];
  }

  /** Several that have one and the same topic, of those in `partitions`. */
  sharing(partitions: readonly number[]): ReadonlyMap<string, readonly number[]> {
    const byTopic = new Map<string, number[]>();
    for (const p of partitions) {
      const topic = this.#bridged[p - this.own]?.topic;
      if (topic !== undefined) byTopic.set(topic, [...(byTopic.get(topic) ?? []), p]);
    }
    for (const [topic, sharers] of byTopic) if (sharers.length === 1) byTopic.delete(topic);
    return byTopic;
  }

  #ownFor({ filters, exact }: FilterSet): number[] {
    if (exact === null) {
      const isBridged = filters.every(filter => this.#claims.some(claim => covers(claim, filter)));
      return isBridged ? [] : Array.from({ length: this.own }, (_, partition) => partition);
    }
    const found = new Set<number>();
    for (const topic of exact) if (!this.isBridged(topic)) found.add(this.partitionOf(topic));
    return [...found].sort((a, b) => a - b);
  }

  #bridgedWhere(holds: (claim: string) => boolean): number[] {
    const found: number[] = [];
    for (const [i, { filters }] of this.#bridged.entries()) if (filters.some(holds)) found.push(this.own + i);
    return found;
  }
}
