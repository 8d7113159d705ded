import { systemRandom } from './random.ts';
import { writeText } from './write-text.ts';

/**
 * A hash of a topic's UTF-8 bytes which nobody can foresee who does not know its key: topics come from outside, and must
 * not be chosen so that they collide. HalfSipHash-1-3, which Linux takes for its hash tables.
 */
export class TopicHash {
  readonly #key0: number;
  readonly #key1: number;
  #text = Buffer.alloc(256);
  #view = viewOf(this.#text);

  /** Both of 32 bits. */
  constructor(key0: number, key1: number) {
    this.#key0 = key0;
    this.#key1 = key1;
  }

  of(topic: string): number {
    if (topic.length * 3 > this.#text.length) {
      this.#text = Buffer.alloc(topic.length * 3);
      this.#view = viewOf(this.#text);
    }
    return this.ofBytes(this.#view, 0, writeText(this.#text, topic, 0));
  }

  /** Hot. */
  ofBytes(view: DataView, start: number, end: number): number {
    let v0 = this.#key0;
    let v1 = this.#key1;
    let v2 = v0 ^ 0x6c796765;
    let v3 = v1 ^ 0x74656462;
    const words = (end - start) >>> 2;
    // what is left of the last word and the length are one word more, and three rounds are the end
    for (let i = 0; i < words + 4; i++) {
      let word = 0;
      if (i < words) word = view.getInt32(start + i * 4, true);
      else if (i === words) {
        word = (end - start) << 24;
        for (let at = start + words * 4; at < end; at++) word |= view.getUint8(at) << (8 * (at - start - words * 4));
      } else if (i === words + 1) v2 ^= 0xff;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    return v1 ^ v3;
  }
}

/** What all tables of this process hash topics by: one computation an append. */
export const topicHash: TopicHash = new TopicHash(randomKey(), randomKey());

function randomKey(): number {
  return Number.parseInt(systemRandom.id(7), 36) | 0;
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}
