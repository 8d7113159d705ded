import {
  recordIsRemembered,
  recordLength,
  recordOffset,
  recordTopic,
  recordTopicNumber,
} from '../segment/record-codec.ts';
import type { Mark } from './marks.ts';

/** The records of one segment that are to go, by their place in it, and what will be told of them. */
export class Doomed {
  count = 0;
  bytes = 0;
  /** Records that would go and stay, since de-duplication needs them. */
  spared = 0;
  readonly marks: Map<string, Mark> = new Map();
  readonly #firstOffset: number;
  readonly #bits: Uint8Array;
  readonly #topics = new Map<number, string>();
  readonly #sparesRemembered: boolean;

  constructor(firstOffset: number, records: number, sparesRemembered = false) {
    this.#firstOffset = firstOffset;
    this.#sparesRemembered = sparesRemembered;
    this.#bits = new Uint8Array((records >>> 3) + 1);
  }

  /** Takes the record at `at`, which is the one with this ordinal, unless it is spared; records come in order. */
  add(ordinal: number, buffer: Buffer, at: number, deletion: boolean): void {
    if (this.#sparesRemembered && recordIsRemembered(buffer, at)) {
      this.spared++;
      return;
    }
    this.#bits[ordinal >>> 3]! |= 1 << (ordinal & 7);
    this.count++;
    this.bytes += recordLength(buffer, at);
    const number = recordTopicNumber(buffer, at);
    let topic = this.#topics.get(number);
    if (topic === undefined) {
      topic = recordTopic(buffer, at);
      this.#topics.set(number, topic);
    }
    const offset = recordOffset(buffer, at, this.#firstOffset);
    const before = this.marks.get(topic);
    this.marks.set(topic, { topic, records: offset, deletions: deletion ? offset : (before?.deletions ?? 0) });
  }

  has(ordinal: number): boolean {
    return (this.#bits[ordinal >>> 3]! & (1 << (ordinal & 7))) !== 0;
  }
}
