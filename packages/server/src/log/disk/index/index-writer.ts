import { crc32 } from 'node:zlib';
import type { Clock } from '../../clock.ts';
import type { Disk, DiskFile, DraftDisk } from '../files/disk.ts';
import { giveName, writeTemporary } from '../files/replace-file.ts';
import type { Segment } from '../segment/segment.ts';
import type { ActiveIndex, ActiveTopic } from './active-index.ts';
import { addToBloom, newBloom } from './bloom.ts';
import {
  blockHeaderBytes,
  directoryBlockBytes,
  encodeIndexFooter,
  entryHeaderBytes,
  type IndexPart,
} from './index-format.ts';

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
  #at = 0;
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #unsynced = 0;

  constructor(file: DiskFile, clock: Clock, segment: Segment) {
    this.#file = file;
    this.#segment = segment;
    this.#pause = pauses(clock);
  }

  async write(): Promise<void> {
    const segment = this.#segment;
    const index = segment.index as ActiveIndex;
    const topics = await sortInSlices([...index.all()], this.#pause);
    const bloom = newBloom(topics.length);
    const fences: Buffer[] = [];
    let postingCount = 0;
    let block = new Block();
    for (const topic of topics) {
      const waiting = this.#pause();
      if (waiting !== undefined) await waiting;
      addToBloom(bloom, topic.topic);
      if (block.bytes >= directoryBlockBytes) {
        fences.push(await this.#writeBlock(block));
        block = new Block();
      }
      block.add(topic, postingCount, segment.firstOffset);
      if (topic.count > 1) postingCount += topic.count;
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

  async #writeBlock(block: Block): Promise<Buffer> {
    const fence = block.fence(this.#at);
    await this.#append(block.encode());
    return fence;
  }

  async #writePostings(topics: readonly ActiveTopic[]): Promise<void> {
    for (const topic of topics) {
      const waiting = this.#pause();
      if (waiting !== undefined) await waiting;
      if (topic.count > 1) await this.#append(bytesOf(topic.positions));
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
    this.#at += bytes.length;
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    if (this.#bufferedBytes >= flushBytes) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#bufferedBytes === 0) return;
    const bytes = Buffer.concat(this.#buffered);
    this.#buffered = [];
    this.#bufferedBytes = 0;
    await this.#file.write(bytes, 0, bytes.length, this.#at - bytes.length);
    this.#unsynced += bytes.length;
    if (this.#unsynced < syncBytes) return;
    await this.#file.sync();
    this.#unsynced = 0;
  }
}

/** A directory block in the making. */
class Block {
  bytes = blockHeaderBytes;
  count = 0;
  #first = '';
  #buffer = Buffer.allocUnsafe(directoryBlockBytes + 1024);

  add(topic: ActiveTopic, posting: number, firstOffset: number): void {
    const at = this.bytes;
    const nameAt = at + entryHeaderBytes;
    const end = nameAt + topic.nameBytes;
    if (end > this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer], end);
    const buffer = this.#buffer;
    const { count } = topic;
    buffer.writeUInt32LE(topic.number, at);
    buffer.writeUInt32LE(count, at + 4);
    buffer.writeUInt32LE(count === 1 ? topic.lastPosition : posting, at + 8);
    buffer.writeUInt32LE(count === 1 ? 0 : crc32(bytesOf(topic.positions)), at + 12);
    buffer.writeUInt32LE(topic.lastOffset - firstOffset, at + 16);
    buffer.writeDoubleLE(topic.lastTime, at + 20);
    buffer.writeUInt16LE(end - nameAt, at + 28);
    topic.copyName(buffer, nameAt);
    if (this.count === 0) this.#first = topic.topic;
    this.count++;
    this.bytes = end;
  }

  encode(): Buffer {
    const block = this.#buffer.subarray(0, this.bytes);
    block.writeUInt32LE(this.bytes, 4);
    block.writeUInt32LE(this.count, 8);
    block.writeUInt32LE(crc32(block.subarray(4)), 0);
    return block;
  }

  /** Where the block is, how long, and its first topic. */
  fence(at: number): Buffer {
    const name = Buffer.from(this.#first);
    const fence = Buffer.alloc(14 + name.length);
    fence.writeDoubleLE(at, 0);
    fence.writeUInt32LE(this.bytes, 8);
    fence.writeUInt16LE(name.length, 12);
    fence.set(name, 14);
    return fence;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
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
