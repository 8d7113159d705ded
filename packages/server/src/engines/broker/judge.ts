import type { Message } from '@tailrace/protocol';
import { Dedupe } from '../../log/dedupe.ts';
import { EndedTopics } from '../../log/ended-topics.ts';
import { encodedBound } from '../../log/intake.ts';
import type { KeyIndex } from '../../log/key-index.ts';
import type { Appended, AppendFailure, LogMemory } from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { tooOld, unseen } from '../../log/producer.ts';
import { expectFailed, recordTooLarge, sequenceTooOld, topicEnded } from '../../log/refusals.ts';
import type { PackedBatch } from '../packed-batch.ts';

/** What a publish is judged by before it goes to the broker: the records that this node has read, and the options. */
export class Judge {
  readonly ended: EndedTopics;
  readonly keys: KeyIndex;
  readonly #options: CommonLogOptions;
  readonly #recordBytes: number;
  #dedupe: Dedupe;

  constructor(options: CommonLogOptions, keys: KeyIndex) {
    this.#options = options;
    this.keys = keys;
    this.ended = new EndedTopics(options.endedTopics ?? logDefaults.endedTopics);
    this.#dedupe = new Dedupe(options.dedupe);
    this.#recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
  }

  get memory(): LogMemory {
    return {
      ids: this.#dedupe.idCount,
      producers: this.#dedupe.producerCount,
      idsCutShort: this.#dedupe.idsCutShort,
      producersCutShort: this.#dedupe.producersCutShort,
      endedTopics: this.ended.size,
      endedCutShort: this.ended.cutShort,
      tables: this.keys.tables,
      tableBytes: this.keys.bytes,
      tableLoads: this.keys.loads,
    };
  }

  /** Why the message makes no record; undefined when it has to be appended. Hot. */
  judge(message: Message): Appended | AppendFailure | undefined {
    const found = this.#dedupe.find(message);
    if (found > unseen) return { offset: found, time: this.#dedupe.foundTime, duplicate: true };
    if (found === tooOld) return { error: sequenceTooOld(message) };
    const end = this.ended.endOf(message.topic);
    if (end > 0) return { error: topicEnded(message.topic, end) };
    if (message.expect !== undefined) {
      const newest = this.keys.ready(message.topic)!.committedOf(message.key!, this.keys.floor);
      if (newest !== message.expect) return { error: expectFailed(message, newest) };
    }
    const bytes = encodedBound(message);
    return bytes > this.#recordBytes ? { error: recordTooLarge(bytes, this.#recordBytes) } : undefined;
  }

  /** The batch is read, and the log's head is its last. Hot. */
  take(batch: PackedBatch): void {
    for (let i = 0; i < batch.count; i++) {
      if (batch.isRemembered(i)) this.#dedupe.add(batch.record(i), batch.offsetAt(i), batch.timeAt(i));
      if (batch.endsTopic(i)) this.ended.add(batch.topics.names[batch.topics.of(i)]!, batch.offsetAt(i));
    }
    this.#dedupe.commit(batch.last);
    this.keys.committed(batch);
  }

  /** Everything is read anew. */
  clear(): void {
    this.#dedupe = new Dedupe(this.#options.dedupe);
    this.ended.clear();
    this.keys.clear();
  }
}
