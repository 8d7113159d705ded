import type { Durability, EnvelopeSource, MessageHeaders } from '@tailrace/protocol';

/** A message in the log. One class, so that the hot path sees one hidden shape; immutable once committed. */
export class LogRecord implements EnvelopeSource {
  readonly topic: string;
  readonly offset: number;
  /** Offset in its partition, which is what clients are told. The same as `offset` where there is one partition. */
  readonly partitionOffset: number;
  /** Commit time, integer ms since 1970 UTC; never falls within a log. */
  readonly time: number;
  readonly data: Uint8Array;
  readonly contentType: string | undefined;
  readonly event: string | undefined;
  readonly id: string | undefined;
  readonly producer: string | undefined;
  readonly sequence: number | undefined;
  readonly key: string | undefined;
  readonly headers: MessageHeaders | undefined;
  readonly by: string | undefined;
  readonly end: boolean;

  constructor(offset: number, time: number, message: RecordSource, partitionOffset: number = offset) {
    this.topic = message.topic;
    this.offset = offset;
    this.partitionOffset = partitionOffset;
    this.time = time;
    this.data = message.data;
    this.contentType = message.contentType;
    this.event = message.event;
    this.id = message.id;
    this.producer = message.producer;
    this.sequence = message.sequence;
    this.key = message.key;
    this.headers = message.headers;
    this.by = message.by;
    this.end = message.end;
  }

  /** About how many bytes of memory and encoded text it takes; budgets count with it. */
  get weight(): number {
    return this.data.length + this.topic.length + 160;
  }
}

export type RecordSource = Omit<LogRecord, 'offset' | 'partitionOffset' | 'time' | 'weight'>;

/** How an append is to be kept; the log's default when left out. `none` never reaches a log. */
export type StoredDurability = Exclude<Durability, 'none'>;
