import { crc32 } from 'node:zlib';
import type { FilterSet } from '@tailrace/protocol';

/** The partition of a topic: by the CRC-32 of its name as UTF-8, which every node and every release must compute alike. */
export function partitionOf(topic: string, partitions: number): number {
  return crc32(topic) % partitions;
}

/** The partitions in which something may match, ascending. */
export function partitionsFor({ exact }: FilterSet, partitions: number): readonly number[] {
  if (exact === null) return Array.from({ length: partitions }, (_, partition) => partition);
  const found = new Set<number>();
  for (const topic of exact) found.add(partitionOf(topic, partitions));
  return [...found].sort((a, b) => a - b);
}
