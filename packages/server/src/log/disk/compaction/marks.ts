import { crc32 } from 'node:zlib';
import type { FilterSet } from '@tailrace/protocol';
import { type Dropped, laterDropped, nothingDropped } from '../../log.ts';
import type { IndexReading } from '../index/sealed-index.ts';
import { align8 } from '../segment/integers.ts';
import type { Segment } from '../segment/segment.ts';
import { readDamage, readInto } from '../segment/segment-bytes.ts';
import { segmentHeaderBytes } from '../segment/segment-header.ts';

/** What is gone of one topic of a segment: the highest offset of a record, and of a deletion (0 for none). */
export interface Mark extends Dropped {
  readonly topic: string;
}

/**
 * The marks of a rewritten segment lie between its header and its frames, in order of topic and in blocks of one size, so
 * that one topic is found by halving. A topic may be half a block long.
 *
 *  ┌────────┬──────────────────┬──────────────────┬───────┬────────┐
 *  │ header │ block of 16 KiB  │ block of 16 KiB  │ rest  │ frames │
 *  └────────┴──────────────────┴──────────────────┴───────┴────────┘
 *    block: crc u32, seeded; entries u32; entries
 *    entry: newest dropped u32 and newest deletion u32, both from the first offset and from 1, 0 for none;
 *           topic bytes u16; topic
 */
export const markBlockBytes: number = 16 * 1024;
const blockHeaderBytes = 8;
const entryHeaderBytes = 10;

/** Writes marks, which come in order of topic, block by block. */
export class MarkWriter {
  readonly #blocks: Buffer[] = [];
  readonly #firstOffset: number;
  readonly #seed: number;
  #block = Buffer.alloc(markBlockBytes);
  #at = blockHeaderBytes;
  #entries = 0;
  newestDropped = 0;
  newestDeletion = 0;

  constructor(firstOffset: number, seed: number) {
    this.#firstOffset = firstOffset;
    this.#seed = seed;
  }

  add({ topic, records, deletions }: Mark): void {
    const name = Buffer.from(topic);
    if (this.#at + entryHeaderBytes + name.length > markBlockBytes) this.#endBlock(markBlockBytes);
    this.#block.writeUInt32LE(this.#ahead(records), this.#at);
    this.#block.writeUInt32LE(this.#ahead(deletions), this.#at + 4);
    this.#block.writeUInt16LE(name.length, this.#at + 8);
    this.#block.set(name, this.#at + entryHeaderBytes);
    this.#at += entryHeaderBytes + name.length;
    this.#entries++;
    this.newestDropped = Math.max(this.newestDropped, records);
    this.newestDeletion = Math.max(this.newestDeletion, deletions);
  }

  finish(): Buffer {
    if (this.#entries > 0) this.#endBlock(align8(this.#at));
    return Buffer.concat(this.#blocks);
  }

  #ahead(offset: number): number {
    return offset === 0 ? 0 : offset - this.#firstOffset + 1;
  }

  #endBlock(length: number): void {
    const block = this.#block.subarray(0, length);
    block.writeUInt32LE(this.#entries, 4);
    block.writeUInt32LE(crc32(block.subarray(4), this.#seed), 0);
    this.#blocks.push(block);
    this.#block = Buffer.alloc(markBlockBytes);
    this.#at = blockHeaderBytes;
    this.#entries = 0;
  }
}

/** All marks of a segment in order of topic. Rejects with LogDamaged. */
export async function* marksOf(segment: Segment, reading: IndexReading): AsyncGenerator<readonly Mark[]> {
  for (let b = 0; b < blockCount(segment); b++) yield await readBlock(segment, reading, b);
}

/** What has been dropped of the topics that match; kept in the cache for who asks again. Rejects with LogDamaged. */
export function droppedOf(segment: Segment, reading: IndexReading, filters: FilterSet): Promise<Dropped> {
  if (segment.header.rewritten === undefined) return Promise.resolve(nothingDropped);
  return reading.cache.get(`${segment.name} dropped ${filters.key}`, async () => ({
    value: await findDropped(segment, reading, filters),
    bytes: 64,
  }));
}

/** Exact filters up to this many are looked up one by one. */
const exactTopics = 64;

async function findDropped(segment: Segment, reading: IndexReading, filters: FilterSet): Promise<Dropped> {
  const { exact } = filters;
  let dropped = nothingDropped;
  if (exact !== null && exact.size <= exactTopics) {
    for (const topic of exact) dropped = laterDropped(dropped, await markOf(segment, reading, topic));
    return dropped;
  }
  for await (const marks of marksOf(segment, reading))
    for (const mark of marks) if (filters.matches(mark.topic)) dropped = laterDropped(dropped, mark);
  return dropped;
}

async function markOf(segment: Segment, reading: IndexReading, topic: string): Promise<Dropped> {
  let low = 0;
  let high = blockCount(segment);
  while (low < high) {
    const mid = (low + high) >>> 1;
    const marks = await reading.cache.get(`${segment.name} marks ${mid}`, async () => ({
      value: await readBlock(segment, reading, mid),
      bytes: markBlockBytes * 3,
    }));
    const found = marks.find(mark => mark.topic >= topic);
    if (found?.topic === topic) return found;
    if (found === undefined) low = mid + 1;
    else if (found === marks[0]) high = mid;
    else break;
  }
  return nothingDropped;
}

function blockCount({ header }: Segment): number {
  return Math.ceil((header.rewritten?.marksBytes ?? 0) / markBlockBytes);
}

async function readBlock(segment: Segment, reading: IndexReading, block: number): Promise<readonly Mark[]> {
  const start = block * markBlockBytes;
  const bytes = Buffer.allocUnsafeSlow(Math.min(markBlockBytes, segment.header.rewritten!.marksBytes - start));
  const position = segmentHeaderBytes + start;
  const got = await readInto(bytes, segment, reading.gate, position);
  const marks = got < bytes.length ? undefined : decodeMarks(bytes, segment.firstOffset, segment.seed);
  if (marks !== undefined) return marks;
  throw readDamage(segment, { position, what: 'the marks of what rules dropped fail their checksum' });
}

/** The marks of one block; undefined when it is damaged. */
export function decodeMarks(block: Buffer, firstOffset: number, seed: number): Mark[] | undefined {
  if (block.length < blockHeaderBytes || crc32(block.subarray(4), seed) !== block.readUInt32LE(0)) return undefined;
  const offsetAt = (at: number): number => {
    const ahead = block.readUInt32LE(at);
    return ahead === 0 ? 0 : firstOffset + ahead - 1;
  };
  const marks: Mark[] = [];
  let at = blockHeaderBytes;
  for (let i = block.readUInt32LE(4); i > 0; i--) {
    const end = at + entryHeaderBytes + block.readUInt16LE(at + 8);
    const topic = block.toString('utf8', at + entryHeaderBytes, end);
    marks.push({ topic, records: offsetAt(at), deletions: offsetAt(at + 4) });
    at = end;
  }
  return marks;
}
