import { hash } from 'node:crypto';

/** Bytes of a slot: the hash, the value and the flag. */
const slotBytes = 16 + 8 + 1;

/** Share of the slots that may be taken: beyond it looking becomes slow. */
const fullAt = 0.75;

const most = 1 << 30;

/**
 * What is known of newer records, by topic or by topic and key: how many there are, or the offset of the newest. Of the
 * names it keeps 128 bits of SHA-256, begun with the log's secret: nobody can make two of them meet, and chance does not.
 * Its memory is bounded; once it is full, what has no slot gets none, and whoever asks has to keep what he asks about.
 */
export class NewestTable {
  /** Something found no room. */
  full = false;
  readonly values: Float64Array;
  /** Whether an older record was seen behind the newest. */
  readonly older: Uint8Array;
  readonly #hashes: Uint32Array;
  readonly #mask: number;
  readonly #room: number;
  readonly #secret: Uint8Array;
  #scratch: Buffer = Buffer.alloc(1024);
  #used = 0;

  /** `names`: how many there are at most. */
  constructor(names: number, maxBytes: number, secret: Uint8Array) {
    let slots = 16;
    while (slots < most && slots * fullAt < names && slots * 2 * slotBytes <= maxBytes) slots *= 2;
    this.values = new Float64Array(slots);
    this.older = new Uint8Array(slots);
    this.#hashes = new Uint32Array(slots * 4);
    this.#mask = slots - 1;
    this.#room = Math.floor(slots * fullAt);
    this.#secret = secret;
  }

  /** Slot of a topic; −1 when there is none and no room for it. */
  topic(topic: string): number {
    const name = Buffer.from(topic);
    return this.#slot(0, name, 0, name.length, name, 0, 0);
  }

  /** Slot of a topic and a key, both UTF-8 at their places; −1 when there is none and no room for it. */
  key(buffer: Buffer, topicAt: number, topicBytes: number, keyAt: number, keyBytes: number): number {
    return this.#slot(1, buffer, topicAt, topicBytes, buffer, keyAt, keyBytes);
  }

  /** Whether the slot was just made: it has no value yet. */
  isNew(slot: number): boolean {
    return this.values[slot] === 0;
  }

  #slot(
    kind: number,
    topic: Buffer,
    topicAt: number,
    topicBytes: number,
    key: Buffer,
    keyAt: number,
    keyBytes: number,
  ): number {
    const length = this.#secret.length + 3 + topicBytes + keyBytes;
    if (length > this.#scratch.length) this.#scratch = Buffer.alloc(length * 2);
    const scratch = this.#scratch;
    let at = this.#secret.length;
    scratch.set(this.#secret, 0);
    scratch[at++] = kind;
    scratch.writeUInt16LE(topicBytes, at);
    at += 2;
    topic.copy(scratch, at, topicAt, topicAt + topicBytes);
    key.copy(scratch, at + topicBytes, keyAt, keyAt + keyBytes);
    return this.#find(hash('sha256', scratch.subarray(0, length), 'buffer'));
  }

  #find(digest: Buffer): number {
    const hashes = this.#hashes;
    const a = digest.readUInt32LE(0);
    const b = digest.readUInt32LE(4);
    const c = digest.readUInt32LE(8);
    // a slot in use is never all zeros
    const d = digest.readUInt32LE(12) | 1;
    for (let slot = a & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 4;
      if (hashes[at + 3] === 0) {
        if (this.#used >= this.#room) {
          this.full = true;
          return -1;
        }
        this.#used++;
        hashes[at] = a;
        hashes[at + 1] = b;
        hashes[at + 2] = c;
        hashes[at + 3] = d >>> 0;
        return slot;
      }
      if (hashes[at] === a && hashes[at + 1] === b && hashes[at + 2] === c && hashes[at + 3] === d >>> 0) return slot;
    }
  }
}
