import type { KafkaRecord, RecordsBatch } from '@platformatic/kafka';
import type { Entry } from '../broker-partition.ts';
import { type AbortedTransaction, isControl, type ReadEntries, type Reading, type Wanted } from '../kafka/fetch.ts';
import { packRecord } from '../packed-record.ts';
import { messageOf } from './foreign-record.ts';
import type { Mapping } from './mapping.ts';

/** Attributes of a batch. */
const isTransactional = 0x10;
const isAppendTime = 0x08;
/** What a packed record has room for, ms. */
const timeMost = 2 ** 47;

/** Reads topics that other systems write: what is committed of them, as messages. */
export function committedRecords(mappings: ReadonlyMap<string, Mapping>): Reading {
  return {
    committedOnly: true,
    entriesOf: (batches, wanted, aborted) => readAll(batches, wanted, aborted, mappings.get(wanted.topic)!),
  };
}

/** A batch comes whole, although it begins before what was asked for. */
function readAll(
  batches: readonly RecordsBatch[],
  { topic, partition, from, to = Number.POSITIVE_INFINITY }: Wanted,
  aborted: readonly AbortedTransaction[],
  mapping: Mapping,
): ReadEntries {
  const voided = new Voided(aborted);
  const entries: Entry[] = [];
  let next = Number(from);
  let leaderEpoch = -1;
  let missing: number | undefined;
  for (const batch of batches) {
    const first = Number(batch.firstOffset);
    const end = first + batch.lastOffsetDelta + 1;
    leaderEpoch = batch.partitionLeaderEpoch;
    // Kafka gives every record the offset after the one before: what is not there was compacted
    const passTo = (offset: number): void => {
      if (offset > next && next < to) missing = Math.min(offset, to);
      next = Math.max(next, offset);
    };
    passTo(first);
    if (!voided.has(batch) && (batch.attributes & isControl) === 0) {
      for (const record of batch.records) {
        const offset = first + record.offsetDelta;
        if (offset < next) continue;
        passTo(offset);
        next = offset + 1;
        if (next > to) continue;
        const message = messageOf(record, { source: topic, partition, offset }, mapping);
        entries.push({ offset: next, time: timeOf(batch, record), bytes: packRecord(message) });
      }
      passTo(end);
    }
    next = Math.max(next, end);
  }
  return { entries, next: BigInt(next), leaderEpoch, missing };
}

function timeOf(batch: RecordsBatch, { timestampDelta }: KafkaRecord): number {
  const isBrokers = (batch.attributes & isAppendTime) !== 0;
  const time = Number(isBrokers ? batch.maxTimestamp : batch.firstTimestamp + timestampDelta);
  return Math.min(Math.max(time, 0), timeMost);
}

/** Batches of transactions that were given up. The mark at their end tells when their producer's next may count. */
class Voided {
  readonly #aborted: AbortedTransaction[];
  readonly #producers = new Set<bigint>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#aborted = [...aborted].sort((one, other) => Number(one.firstOffset - other.firstOffset));
  }

  /** To be asked of batch after batch. */
  has({ firstOffset, lastOffsetDelta, producerId, attributes }: RecordsBatch): boolean {
    const last = firstOffset + BigInt(lastOffsetDelta);
    while (this.#aborted.length > 0 && this.#aborted[0]!.firstOffset <= last)
      this.#producers.add(this.#aborted.shift()!.producerId);
    if ((attributes & isTransactional) === 0) return false;
    if ((attributes & isControl) !== 0) {
      // also one that commits: nothing of the producer is open behind it
      this.#producers.delete(producerId);
      return false;
    }
    return this.#producers.has(producerId);
  }
}
