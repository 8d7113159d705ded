import type { Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from './clock.ts';
import { Dedupe } from './dedupe.ts';
import { EndedTopics } from './ended-topics.ts';
import type { KeyIndex } from './key-index.ts';
import type { LogMemory } from './log.ts';
import { type CommonLogOptions, logDefaults } from './options.ts';
import { PendingAppend } from './pending-append.ts';
import { tooOld, unseen } from './producer.ts';
import { expectFailed, recordTooLarge, sequenceTooOld, topicEnded } from './refusals.ts';

/**
 * The gate in front of every log: decides whether a message is new, repeated or too late, and gives new ones their
 * offset and time. What it admits counts as seen at once; `rollback` takes back what was never committed.
 */
export class Intake {
  readonly dedupe: Dedupe;
  readonly ended: EndedTopics;
  nextOffset: number;
  /** Of the newest record, and of those that the append under way makes. */
  time: number;
  readonly #clock: Clock;
  readonly #keys: KeyIndex;
  readonly #recordBytes: number;

  constructor(options: CommonLogOptions, clock: Clock, keys: KeyIndex, head: number, lastTime: number) {
    this.dedupe = new Dedupe(options.dedupe);
    this.ended = new EndedTopics(options.endedTopics ?? logDefaults.endedTopics);
    this.#recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
    this.#clock = clock;
    this.#keys = keys;
    this.nextOffset = head + 1;
    this.time = lastTime;
  }

  /** An append begins; its records share one time, which never falls, so that order by offset and by time is one order. */
  begin(): PendingAppend {
    this.time = Math.max(this.time, this.#clock.now());
    return new PendingAppend();
  }

  /**
   * Offset of the record to make, or 0 when the message makes none: then the append's results say why. `bound` is that of
   * its bytes. Hot.
   */
  admit(message: Message, bound: number, append: PendingAppend): number {
    const found = this.dedupe.find(message);
    if (found > unseen) {
      append.add({ offset: found, time: this.dedupe.foundTime, duplicate: true });
      if (found > append.until) append.until = found;
      return 0;
    }
    const failure = found === tooOld ? sequenceTooOld(message) : this.#refusal(message, bound, append);
    if (failure !== undefined) {
      append.add({ error: failure });
      return 0;
    }
    const { time } = this;
    const offset = this.nextOffset++;
    append.add({ offset, time, duplicate: false });
    append.until = offset;
    if (message.id !== undefined || message.producer !== undefined) this.dedupe.add(message, offset, time);
    if (message.end) this.ended.add(message.topic, offset);
    if (message.key !== undefined) this.#keys.appended(message.topic, message.key, offset, message.data.length === 0);
    return offset;
  }

  /** The records of a topic with offset ≤ `upTo` are deleted: what is published to it begins anew. */
  forget(topic: string, upTo: number): void {
    this.dedupe.forget(topic, upTo);
    this.ended.forget(topic, upTo);
    this.#keys.deleted(topic, upTo);
  }

  get memory(): LogMemory {
    return {
      ids: this.dedupe.idCount,
      producers: this.dedupe.producerCount,
      idsCutShort: this.dedupe.idsCutShort,
      producersCutShort: this.dedupe.producersCutShort,
      endedTopics: this.ended.size,
      endedCutShort: this.ended.cutShort,
      tables: this.#keys.tables,
      tableBytes: this.#keys.bytes,
      tableLoads: this.#keys.loads,
    };
  }

  rollback(head: number, time: number): void {
    this.nextOffset = head + 1;
    this.time = time;
    this.dedupe.rollback(head);
    this.ended.rollback(head);
    this.#keys.rollback(head);
  }

  #refusal(message: Message, bytes: number, append: PendingAppend): TailraceError | undefined {
    const end = this.ended.endOf(message.topic);
    if (end > 0) {
      // the end itself may be on its way: the refusal is true once that is committed
      if (end > append.until) append.until = end;
      return topicEnded(message.topic, end);
    }
    if (message.expect !== undefined) {
      const found = this.#keys.ready(message.topic)!.newestOf(message.key!, this.#keys.floor);
      if (found !== message.expect) {
        // what it was judged by may be on its way too
        if (found > append.until) append.until = found;
        return expectFailed(message, found);
      }
    }
    if (bytes <= this.#recordBytes) return undefined;
    return recordTooLarge(bytes, this.#recordBytes);
  }
}

/** At least as many bytes as the encoded record can have (UTF-8 takes at most 3 per UTF-16 unit). Hot. */
export function encodedBound(message: Omit<Message, 'durability' | 'expect'>): number {
  let bytes = 64 + message.topic.length * 3 + message.data.length;
  if (message.id !== undefined) bytes += 4 + message.id.length * 3;
  if (message.producer !== undefined) bytes += 12 + message.producer.length * 3;
  if (message.event !== undefined) bytes += 4 + message.event.length * 3;
  if (message.key !== undefined) bytes += 4 + message.key.length * 3;
  if (message.by !== undefined) bytes += 4 + message.by.length * 3;
  if (message.contentType !== undefined) bytes += 4 + message.contentType.length * 3;
  if (message.headers !== undefined) {
    bytes += 8;
    for (const name in message.headers) bytes += 8 + (name.length + message.headers[name]!.length) * 3;
  }
  return bytes;
}
