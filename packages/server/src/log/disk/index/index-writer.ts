import { crc32 } from 'node:zlib';
import type { Clock } from '../../clock.ts';
import type { Disk, DiskFile, DraftDisk } from '../files/disk.ts';
import { giveName, writeTemporary } from '../files/replace-file.ts';
import type { Segment } from '../segment/segment.ts';
import type { ActiveIndex } from './active-index.ts';
import { addToBloom, newBloom } from './bloom.ts';
import {
  blockHeaderBytes,
  directoryBlockBytes,
  encodeIndexFooter,
  entryHeaderBytes,
  type IndexPart,
} from './index-format.ts';
import { sortByName } from './name-order.ts';

/** Small parts are collected up to this many bytes: each write takes a turn of the thread pool. */
const flushBytes = 256 * 1024;

/** Bytes between two syncs: one sync of all of it would hold commits up. */
export const syncBytes: number = 4 * 1024 * 1024;

/** Longest stretch of work between two turns of the event loop, in ms. */
const sliceMs = 1;

/** Writes the `.idx` of a complete segment from its index in memory, a little at a time. It appears whole and synced. */
export async function writeIndex(disk: Disk, clock: Clock, segment: Segment): Promise<void> {
  await installIndex(disk, segment, await writeIndexTo(disk, clock, segment, `${segment.indexPath}.tmp`));
}

/** Writes and syncs it under a temporary name, which it returns. */
export function writeIndexTo(disk: DraftDisk, clock: Clock, segment: Segment, temporary: string): Promise<string> {
  return writeTemporary(disk, segment.indexPath, file => new IndexWriter(file, clock, segment).write(), temporary);
}

/** Gives an index that was written its name. */
export async function installIndex(disk: Disk, segment: Segment, temporary: string): Promise<void> {
  await segment.files.forget(segment.indexPath);
  await giveName(disk, temporary, segment.indexPath);
}

class IndexWriter {
  readonly #file: DiskFile;
  readonly #segment: Segment;
  readonly #pause: Pause;
  readonly #index: ActiveIndex;
  /** Behind what is written. */
  #at = 0;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(flushBytes);
  #buffered = 0;
  #unsynced = 0;
  /** Positions of one topic. */
  #positions = new Uint32Array(64);

  constructor(file: DiskFile, clock: Clock, segment: Segment) {
    this.#file = file;
    this.#segment = segment;
    this.#index = segment.index as ActiveIndex;
    this.#pause = pauses(clock);
  }

  async write(): Promise<void> {
    const segment = this.#segment;
    const index = this.#index;
    const topics = await this.#sortedTopics();
    const bloom = newBloom(topics.length);
    const fences: Buffer[] = [];
    const block = new Block(index, segment.firstOffset);
    let postingCount = 0;
    for (const number of topics) {
      const waiting = this.#pause();
      if (waiting !== undefined) await waiting;
      if (block.bytes >= directoryBlockBytes) fences.push(await this.#writeBlock(block));
      const count = index.countOf(number);
      if (count === 1) block.add(number, index.lastPositionOf(number), 0);
      else block.add(number, postingCount, crc32(this.#positionsOf(number)));
      if (count > 1) postingCount += count;
      addToBloom(bloom, block.buffer, block.nameAt, block.bytes);
    }
    if (block.count > 0) fences.push(await this.#writeBlock(block));
    const postingsAt = this.#at;
    await this.#writePostings(topics);
    const footer = {
      generation: segment.header.generation,
      number: segment.header.number,
      firstOffset: segment.firstOffset,
      lastOffset: segment.lastOffset,
      records: segment.records,
      remembered: segment.remembered,
      ids: segment.ids,
      length: segment.end,
      lastCrc: segment.lastCrc,
      lastFrameAt: segment.lastFrameAt,
      firstTime: segment.firstTime,
      lastTime: segment.lastTime,
      topics: topics.length,
      numbers: index.topicCount,
      postingsAt,
      fences: await this.#part(Buffer.concat(fences)),
      sparse: await this.#part(sparseTable(index)),
      ended: await this.#part(Buffer.from(JSON.stringify(index.ended))),
      bloom: await this.#part(Buffer.from(bloom.buffer)),
    };
    await this.#append(encodeIndexFooter(footer));
    await this.#flush();
  }

  /** Numbers of the topics with records, in the order of their names. */
  async #sortedTopics(): Promise<Int32Array> {
    const index = this.#index;
    const numbers = new Int32Array(index.topicCount);
    let topics = 0;
    for (let number = 0; number < index.topicCount; number++) if (index.has(number)) numbers[topics++] = number;
    const sorted = numbers.subarray(0, topics);
    await sortByName(sorted, index.names, this.#pause);
    return sorted;
  }

  /** Until it is called again. */
  #positionsOf(number: number): Buffer {
    const count = this.#index.countOf(number);
    if (count > this.#positions.length) this.#positions = new Uint32Array(count * 2);
    this.#index.copyPositions(number, this.#positions);
    return Buffer.from(this.#positions.buffer, 0, count * 4);
  }

  async #writeBlock(block: Block): Promise<Buffer> {
    const fence = block.fence(this.#at);
    await this.#append(block.encode());
    block.clear();
    return fence;
  }

  async #writePostings(topics: Int32Array): Promise<void> {
    for (const number of topics) {
      const waiting = this.#pause();
      if (waiting !== undefined) await waiting;
      if (this.#index.countOf(number) > 1) await this.#append(this.#positionsOf(number));
    }
    await this.#flush();
  }

  async #part(bytes: Buffer): Promise<IndexPart> {
    const part = { at: this.#at, bytes: bytes.length, crc: crc32(bytes) };
    await this.#append(bytes);
    await this.#flush();
    return part;
  }

  async #append(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const copied = bytes.copy(this.#buffer, this.#buffered, done);
      done += copied;
      this.#buffered += copied;
      this.#at += copied;
      if (this.#buffered === flushBytes) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffered;
    if (bytes === 0) return;
    await this.#file.write(this.#buffer, 0, bytes, this.#at - bytes);
    this.#buffered = 0;
    this.#unsynced += bytes;
    if (this.#unsynced < syncBytes) return;
    await this.#file.sync();
    this.#unsynced = 0;
  }
}

/** A directory block in the making. */
class Block {
  buffer: Buffer = Buffer.allocUnsafeSlow(directoryBlockBytes + 1024);
  bytes = blockHeaderBytes;
  count = 0;
  /** Where the name of the last topic begins, which the block ends with. */
  nameAt = 0;
  readonly #index: ActiveIndex;
  readonly #firstOffset: number;

  constructor(index: ActiveIndex, firstOffset: number) {
    this.#index = index;
    this.#firstOffset = firstOffset;
  }

  clear(): void {
    this.bytes = blockHeaderBytes;
    this.count = 0;
  }

  /** `place`: of the only record, or of the first among the postings, which `crc` is of. */
  add(number: number, place: number, crc: number): void {
    const index = this.#index;
    const at = this.bytes;
    const nameAt = at + entryHeaderBytes;
    const end = nameAt + index.names.bytesOf(number);
    if (end > this.buffer.length) this.buffer = Buffer.concat([this.buffer], end);
    const { buffer } = this;
    buffer.writeUInt32LE(number, at);
    buffer.writeUInt32LE(index.countOf(number), at + 4);
    buffer.writeUInt32LE(place, at + 8);
    buffer.writeUInt32LE(crc, at + 12);
    buffer.writeUInt32LE(index.lastOffsetOf(number) - this.#firstOffset, at + 16);
    buffer.writeDoubleLE(index.lastTimeOf(number), at + 20);
    buffer.writeUInt16LE(end - nameAt, at + 28);
    index.names.copy(number, buffer, nameAt);
    this.nameAt = nameAt;
    this.count++;
    this.bytes = end;
  }

  encode(): Buffer {
    const block = this.buffer.subarray(0, this.bytes);
    block.writeUInt32LE(this.bytes, 4);
    block.writeUInt32LE(this.count, 8);
    block.writeUInt32LE(crc32(block.subarray(4)), 0);
    return block;
  }

  /** Where the block is, how long, and its first topic. */
  fence(at: number): Buffer {
    const first = blockHeaderBytes + entryHeaderBytes;
    const nameBytes = this.buffer.readUInt16LE(first - 2);
    const fence = Buffer.alloc(14 + nameBytes);
    fence.writeDoubleLE(at, 0);
    fence.writeUInt32LE(this.bytes, 8);
    fence.writeUInt16LE(nameBytes, 12);
    this.buffer.copy(fence, 14, first, first + nameBytes);
    return fence;
  }
}

/** Triples of offset, position and time, as f64. */
function sparseTable(index: ActiveIndex): Buffer {
  const { offsets, positions, times } = index.sparse;
  const table = new Float64Array(offsets.length * 3);
  for (let i = 0; i < offsets.length; i++) {
    table[i * 3] = offsets[i]!;
    table[i * 3 + 1] = positions[i]!;
    table[i * 3 + 2] = times[i]!;
  }
  return Buffer.from(table.buffer);
}

/** `steps`: how much work was done since the last call; the clock is read after 64. */
export type Pause = (steps?: number) => Promise<void> | undefined;

/** Gives the event loop a turn when the current slice has lasted long enough; else there is nothing to wait for. */
export function pauses(clock: Clock): Pause {
  let since = clock.monotonic();
  let steps = 0;
  return (taken = 1) => {
    steps += taken;
    if (steps < 64) return undefined;
    steps = 0;
    if (clock.monotonic() - since < sliceMs) return undefined;
    return new Promise(resolve => {
      clock.soon(() => {
        since = clock.monotonic();
        resolve();
      });
    });
  };
}

interface Named {
  readonly topic: string;
}

/** Merge sort by name that gives way between runs: sorting 350,000 names at once would block for a third of a second. */
export async function sortInSlices<T extends Named>(topics: T[], pause: Pause): Promise<T[]> {
  const run = 512;
  let from = topics;
  for (let i = 0; i < from.length; i += run) {
    const sorted = from.slice(i, i + run).sort(byTopic);
    for (let k = 0; k < sorted.length; k++) from[i + k] = sorted[k]!;
    await pause(run);
  }
  let to = new Array<T>(from.length);
  for (let width = run; width < from.length; width *= 2) {
    for (let low = 0; low < from.length; low += width * 2) {
      const mid = Math.min(low + width, from.length);
      const high = Math.min(low + width * 2, from.length);
      let a = low;
      let b = mid;
      for (let i = low; i < high; i++) {
        if (a < mid && (b >= high || byTopic(from[a]!, from[b]!) <= 0)) to[i] = from[a++]!;
        else to[i] = from[b++]!;
        const waiting = pause();
        if (waiting !== undefined) await waiting;
      }
    }
    [from, to] = [to, from];
  }
  return from;
}

function byTopic(a: Named, b: Named): number {
  return a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : 0;
}
