import type { Message } from '@tailrace/protocol';
import { type IdEntry, IdWindow } from './id-window.ts';
import type { DedupeOptions } from './options.ts';
import { logDefaults } from './options.ts';
import { type ProducerEntry, unseen } from './producer.ts';
import { type ProducerState, Producers } from './producers.ts';

/** What is remembered of committed records at one moment, although it is read later. */
export interface DedupeState {
  /** In order of offset. */
  readonly ids: readonly IdEntry[];
  readonly producers: Iterable<ProducerState>;
  /** Nobody will read on. */
  release(): void;
}

type DedupeKeys = Pick<Message, 'topic' | 'id' | 'by' | 'producer' | 'sequence'>;

/**
 * Recognises publishes that were made before: ids by topic, sequences by producer. Records that wait for their commit are
 * found too, so that a retry waits for them; they push nothing out before `commit`, and `rollback` takes them back as if
 * they had never been. So what is remembered depends on the committed records alone, and a start comes to the same.
 */
export class Dedupe {
  readonly #ids: IdWindow;
  readonly #producers: Producers;
  /** Time of the record that `find` found. */
  foundTime = 0;

  constructor(options: DedupeOptions = {}) {
    const { ids, ageMs, limit, producers } = logDefaults.dedupe;
    const keep = options.ids ?? ids;
    this.#ids = new IdWindow(keep, options.ageMs ?? ageMs, Math.max(keep, options.limit ?? limit));
    this.#producers = new Producers(options.producers ?? producers);
  }

  /** Ids of committed records. */
  get idCount(): number {
    return this.#ids.size;
  }

  /** Producers of committed records. */
  get producerCount(): number {
    return this.#producers.size;
  }

  /** Ids forgotten for want of room before their time. */
  get idsCutShort(): number {
    return this.#ids.cutShort;
  }

  /** Producers forgotten for want of room. */
  get producersCutShort(): number {
    return this.#producers.cutShort;
  }

  /** Offset of the record that this message repeats, `unseen` or `tooOld`. Hot. */
  find(message: DedupeKeys): number {
    if (message.id !== undefined) {
      const slot = this.#ids.find(message.topic, message.id);
      if (slot !== undefined) {
        this.foundTime = slot.time;
        return slot.offset;
      }
    }
    if (message.producer === undefined) return unseen;
    const offset = this.#producers.find(message.by, message.producer, message.sequence!);
    this.foundTime = this.#producers.foundTime;
    return offset;
  }

  /** Takes the message of a new record. Offsets ascend, except that a producer's order is its own. Hot. */
  add(message: DedupeKeys, offset: number, time: number): void {
    if (message.id !== undefined) this.#ids.add(message.topic, message.id, offset, time);
    if (message.producer !== undefined)
      this.#producers.add(message.by, message.producer, message.sequence!, offset, time);
  }

  /** Everything up to `head` is committed. Hot. */
  commit(head: number): void {
    this.#ids.commit(head);
    this.#producers.commit(head);
  }

  /** Forgets everything above `head`: it was not appended after all. */
  rollback(head: number): void {
    this.#ids.rollback(head);
    this.#producers.rollback(head);
  }

  /** Forgets the ids of a topic with offset ≤ `upTo`; sequences are not a topic's. */
  forget(topic: string, upTo: number): void {
    this.#ids.forget(topic, upTo);
  }

  /** One at a time: it must be released before the next is asked for. */
  state(): DedupeState {
    const producers = this.#producers.state();
    return { ids: this.#ids.state(), producers, release: () => this.#producers.release() };
  }

  /** Takes an id of an earlier state, in its order, before anything is added. */
  restoreId(key: string, offset: number, time: number): void {
    this.#ids.restore(key, offset, time);
  }

  /** Takes a producer of an earlier state. */
  restoreProducer(key: string, entries: readonly ProducerEntry[], lastOffset: number): void {
    this.#producers.restore(key, entries, lastOffset);
  }
}
