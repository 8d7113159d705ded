import type { TopicHash } from '../../topic-hash.ts';

/** Names lie in chunks of this many bytes, each in one: the memory of the others stays where it is when there is one more. */
const chunkBits = 20;
const chunkBytes = 1 << chunkBits;
const firstChunkBytes = 4096;

/** Numbers of 32 bits compare as if they had no sign when it is turned round in both. */
const signBit = 0x80000000;

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

  /** Makes room for so many at once: to grow to them step by step costs as much as to take them. */
  reserve(count: number): void {
    let room = this.#places.length;
    while (room < count) room *= 2;
    if (room > this.#places.length) this.#enlarge(room);
  }

  /** The numbers below belong to topics that are not known. */
  skipTo(count: number): void {
    this.reserve(count);
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

  /**
   * Four bytes of its name from `at` on, zeros behind its end, as a number: those of two names compare as the strings do.
   * Hot.
   */
  wordAt(number: number, at: number): number {
    const place = this.#places[number]!;
    const view = this.#views[place >>> chunkBits]!;
    const from = (place & (chunkBytes - 1)) + at;
    const left = this.#lengths[number]! - at;
    let word = 0;
    if (left >= 4) word = view.getInt32(from);
    else for (let i = 0; i < left; i++) word |= view.getUint8(from + i) << (24 - 8 * i);
    return ((word & 0x80808080) === 0 ? word : orderOfUnits(word)) ^ signBit;
  }

  /** Below 0 when the name of `a` sorts first; up to `common` they are the same. */
  compare(a: number, b: number, common: number): number {
    const lengthA = this.#lengths[a]!;
    const lengthB = this.#lengths[b]!;
    for (let at = common; at < lengthA && at < lengthB; at += 4) {
      const wordA = this.wordAt(a, at);
      const wordB = this.wordAt(b, at);
      if (wordA !== wordB) return wordA < wordB ? -1 : 1;
    }
    return lengthA - lengthB;
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

  #enlarge(room: number): void {
    const places = new Uint32Array(room);
    places.set(this.#places);
    this.#places = places;
    const lengths = new Uint16Array(places.length);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
    const slots = this.#slots;
    this.#slots = new Int32Array(room * 4);
    for (let at = 0; at < slots.length; at += 2) if (slots[at + 1] !== 0) this.#link(slots[at]!, slots[at + 1]! - 1);
  }
}

/**
 * Strings compare by their UTF-16 units, where what takes four bytes of UTF-8 comes before what begins with 0xee and 0xef:
 * those two change places with nothing else.
 */
function orderOfUnits(word: number): number {
  let ordered = 0;
  for (let shift = 24; shift >= 0; shift -= 8) {
    const byte = (word >>> shift) & 0xff;
    ordered |= (byte >= 0xee ? byte | 0x10 : byte) << shift;
  }
  return ordered;
}
