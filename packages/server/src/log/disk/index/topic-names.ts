import type { TopicHash } from '../../topic-hash.ts';

/** Names lie in chunks of this many bytes, each in one: the memory of the others stays where it is when there is one more. */
const chunkBits = 20;
const chunkBytes = 1 << chunkBits;
const firstChunkBytes = 4096;

/**
 * Topics with a number each, as bytes: strings and a Map of hundreds of thousands keep the garbage collector busy, which
 * has to move them.
 *
 *    slots by hash          number    0   1   2   3
 *    │ – │ 2 │ 0 │ – │      name      a   b   c   d  ──▶ chunks
 *              ▲ its hash too: the first free slot behind says that a name is not there
 */
export class TopicNames {
  /** Numbers are below this. */
  count = 0;
  readonly hash: TopicHash;
  readonly #chunks: Buffer[] = [];
  /** Of each chunk. */
  readonly #views: DataView[] = [];
  /** Free in the newest chunk. */
  #left = 0;
  #places = new Uint32Array(32);
  #lengths = new Uint16Array(32);
  /** Hash and number + 1 of each slot, 0 while it is free; at most half of them are taken. */
  #slots = new Int32Array(128);

  constructor(hash: TopicHash) {
    this.hash = hash;
  }

  /** Number of the topic whose name is these bytes, or −1. Hot. */
  find(bytes: DataView, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = (hash << 1) & mask; slots[at + 1] !== 0; at = (at + 2) & mask)
      if (slots[at] === hash && this.#is(slots[at + 1]! - 1, bytes, start, end)) return slots[at + 1]! - 1;
    return -1;
  }

  numberOf(topic: string): number {
    const bytes = Buffer.from(topic);
    return this.find(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, this.hash.of(topic));
  }

  /** Gives the next number to a topic that has none; returns it. Hot. */
  add(bytes: DataView, start: number, end: number, hash: number): number {
    const number = this.count;
    this.skipTo(number + 1);
    this.set(number, bytes, start, end, hash);
    return number;
  }

  /** The numbers below belong to topics that are not known. */
  skipTo(count: number): void {
    while (this.#places.length < count) this.#enlarge();
    this.count = count;
  }

  /** Says which topic a number belongs to that was skipped. */
  set(number: number, bytes: DataView, start: number, end: number, hash: number): void {
    this.#places[number] = this.#keep(bytes, start, end);
    this.#lengths[number] = end - start;
    this.#link(hash, number);
  }

  /** Its name; empty when it is not known. */
  nameOf(number: number): string {
    const place = this.#places[number]!;
    const at = place & (chunkBytes - 1);
    const chunk = this.#chunks[place >>> chunkBits];
    return chunk === undefined ? '' : chunk.toString('utf8', at, at + this.#lengths[number]!);
  }

  /** Bytes of its name. */
  bytesOf(number: number): number {
    return this.#lengths[number]!;
  }

  copy(number: number, to: Buffer, at: number): void {
    const place = this.#places[number]!;
    const from = place & (chunkBytes - 1);
    this.#chunks[place >>> chunkBits]!.copy(to, at, from, from + this.#lengths[number]!);
  }

  /** Word by word: most of a topic is what others begin with, too. */
  #is(number: number, bytes: DataView, start: number, end: number): boolean {
    if (this.#lengths[number] !== end - start) return false;
    const place = this.#places[number]!;
    const chunk = this.#views[place >>> chunkBits]!;
    let at = start;
    let mine = place & (chunkBytes - 1);
    for (; at + 4 <= end; at += 4, mine += 4) if (bytes.getInt32(at, true) !== chunk.getInt32(mine, true)) return false;
    for (; at < end; at++, mine++) if (bytes.getUint8(at) !== chunk.getUint8(mine)) return false;
    return true;
  }

  /** Copies a name; returns its place. */
  #keep(bytes: DataView, start: number, end: number): number {
    if (this.#left < end - start) this.#addChunk(end - start);
    const last = this.#views.length - 1;
    const chunk = this.#views[last]!;
    const place = chunk.byteLength - this.#left;
    let at = start;
    let mine = place;
    for (; at + 4 <= end; at += 4, mine += 4) chunk.setInt32(mine, bytes.getInt32(at, true), true);
    for (; at < end; at++, mine++) chunk.setUint8(mine, bytes.getUint8(at));
    this.#left -= end - start;
    return last * chunkBytes + place;
  }

  #addChunk(needed: number): void {
    // most segments have few topics
    this.#left = this.#chunks.length === 0 && needed <= firstChunkBytes ? firstChunkBytes : chunkBytes;
    const chunk = Buffer.allocUnsafeSlow(this.#left);
    this.#chunks.push(chunk);
    this.#views.push(new DataView(chunk.buffer, chunk.byteOffset, chunk.length));
  }

  #link(hash: number, number: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = (hash << 1) & mask;
    while (slots[at + 1] !== 0) at = (at + 2) & mask;
    slots[at] = hash;
    slots[at + 1] = number + 1;
  }

  #enlarge(): void {
    const places = new Uint32Array(this.#places.length * 2);
    places.set(this.#places);
    this.#places = places;
    const lengths = new Uint16Array(places.length);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
    const slots = this.#slots;
    this.#slots = new Int32Array(slots.length * 2);
    for (let at = 0; at < slots.length; at += 2) if (slots[at + 1] !== 0) this.#link(slots[at]!, slots[at + 1]! - 1);
  }
}
