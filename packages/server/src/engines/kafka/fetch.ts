import type { RecordsBatch } from '@platformatic/kafka';
import type { Entry } from '../broker-partition.ts';
import type { KafkaClient } from './client.ts';
import type { Place } from './cluster.ts';

/** What a request reads of one partition. */
export interface Wanted {
  readonly topic: string;
  readonly partition: number;
  readonly place: Place;
  /** In Kafka's counting, from 0. */
  readonly from: bigint;
  readonly maxBytes: number;
}

/** What came of one partition. */
export interface Fetched {
  readonly topic: string;
  readonly partition: number;
  /** 0: none. */
  readonly errorCode: number;
  readonly entries: readonly Entry[];
  /** In Kafka's counting: what is behind the newest that was read. */
  readonly next: bigint;
  /** Up to here the broker has committed. */
  readonly head: number;
  /** Of the newest batch; −1 when there is none. */
  readonly leaderEpoch: number;
}

const isControl = 0x20;
/** The broker has set the time of the batch. */
const hasAppendTime = 0x08;
/** The first version that names topics by their ids. */
const byId = 13;
const noSession = -1;

/** Reads from several partitions that one broker leads. Waits up to `waitMs` while none of them has anything. */
export async function fetchFrom(client: KafkaClient, wanted: readonly Wanted[], waitMs: number): Promise<Fetched[]> {
  const connection = await client.connect(wanted[0]!.place.leader);
  const total = wanted.reduce((sum, { maxBytes }) => sum + maxBytes, 0);
  const names = new Map(
    wanted.flatMap(one => [[one.topic, one.topic] as const, [one.place.topicId, one.topic] as const]),
  );
  let answer: Answer;
  try {
    answer = await client.ask<Answer>(connection, 'Fetch', version => {
      const topics = new Map<string, unknown[]>();
      for (const { topic, partition, place, from, maxBytes } of wanted) {
        const name = version < byId ? topic : place.topicId;
        const partitions = topics.get(name) ?? [];
        topics.set(name, partitions);
        partitions.push({
          partition,
          currentLeaderEpoch: place.leaderEpoch,
          fetchOffset: from,
          lastFetchedEpoch: -1,
          partitionMaxBytes: maxBytes,
        });
      }
      const asked = [...topics].map(([topicId, partitions]) => ({ topicId, partitions }));
      return [waitMs, 1, total, 0, 0, noSession, asked, [], ''];
    });
  } catch (error) {
    const partial = (error as { response?: Answer }).response;
    // a partition that cannot be read does not take the others with it
    if (partial?.responses === undefined || partial.errorCode !== 0) throw error;
    answer = partial;
  }
  return answer.responses.flatMap(({ topicId, partitions }) =>
    partitions.map(({ partitionIndex, errorCode, highWatermark, records }) => {
      const topic = names.get(topicId)!;
      const { from } = wanted.find(one => one.topic === topic && one.partition === partitionIndex)!;
      const head = Number(highWatermark);
      return { topic, partition: partitionIndex, errorCode, head, ...entriesOf(records ?? [], from) };
    }),
  );
}

/** A batch comes whole, although it begins before what was asked for. */
function entriesOf(
  batches: readonly RecordsBatch[],
  from: bigint,
): { readonly entries: Entry[]; readonly next: bigint; readonly leaderEpoch: number } {
  const entries: Entry[] = [];
  let next = from;
  let leaderEpoch = -1;
  for (const batch of batches) {
    next = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
    leaderEpoch = batch.partitionLeaderEpoch;
    if ((batch.attributes & isControl) !== 0) continue;
    const first = Number(batch.firstOffset);
    const appended = (batch.attributes & hasAppendTime) === 0 ? undefined : Number(batch.maxTimestamp);
    const time = Number(batch.firstTimestamp);
    for (const { offsetDelta, timestampDelta, value } of batch.records) {
      if (first + offsetDelta < from) continue;
      entries.push({
        offset: first + offsetDelta + 1,
        time: appended ?? time + Number(timestampDelta),
        bytes: value ?? Buffer.alloc(0),
      });
    }
  }
  return { entries, next, leaderEpoch };
}

interface Answer {
  readonly errorCode: number;
  readonly responses: readonly {
    readonly topicId: string;
    readonly partitions: readonly {
      readonly partitionIndex: number;
      readonly errorCode: number;
      readonly highWatermark: bigint;
      readonly records?: readonly RecordsBatch[] | null;
    }[];
  }[];
}
