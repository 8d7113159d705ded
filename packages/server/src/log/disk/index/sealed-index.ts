import { crc32 } from 'node:zlib';
import type { FilterSet } from '@tailrace/protocol';
import { type DiskFile, errorCode, readOnce } from '../files/disk.ts';
import type { Gate } from '../read/gate.ts';
import { FrameHeader, frameHeaderBytes } from '../segment/frame.ts';
import type { Segment } from '../segment/segment.ts';
import { bloomMayHold } from './bloom.ts';
import type { IndexCache } from './index-cache.ts';
import {
  type DirectoryEntry,
  decodeBlock,
  decodeIndexFooter,
  type IndexFooter,
  type IndexPart,
  indexFooterBytes,
  visitBlock,
} from './index-format.ts';
import { type IndexedTopic, type PostingList, type SegmentIndex, SparseIndex, TopicSet } from './segment-index.ts';

/** Thrown by reads that meet a damaged index; the segment itself may be whole, and the index is then built anew. */
export class IndexDamaged extends Error {
  readonly segment: Segment;

  constructor(segment: Segment, what: string) {
    super(`the index of ${segment.name} is damaged: ${what}`);
    this.name = 'IndexDamaged';
    this.segment = segment;
  }
}

const unreadable = 'the disk cannot read it (EIO)';

/** What sealed indexes share: the parts kept in memory, and the gate in front of the disk. */
export interface IndexReading {
  readonly cache: IndexCache;
  readonly gate: Gate;
}

/**
 * Takes a segment as sealed when its index is made for exactly this file; sets what the segment knows of itself. Returns
 * the footer of an index that is whole and of this segment, also when the file is not as it says: then the segment has to
 * be scanned, and what the index names was durable all the same. `onDamage`: there is one that is not whole.
 */
export async function openSealed(
  segment: Segment,
  reading: IndexReading,
  onDamage: (error: Error) => void = () => {},
): Promise<IndexFooter | undefined> {
  let index: SealedIndex;
  try {
    index = await SealedIndex.open(segment, reading);
  } catch (error) {
    await segment.files.forget(segment.indexPath);
    if (errorCode(error) === 'ENOENT') return undefined;
    if (error instanceof IndexDamaged) onDamage(error);
    else if (errorCode(error) === 'EIO') onDamage(new IndexDamaged(segment, unreadable));
    else throw error;
    return undefined;
  }
  const { footer } = index;
  const { header } = segment;
  const belongs =
    footer.generation === header.generation &&
    footer.number === header.number &&
    footer.firstOffset === header.firstOffset;
  const size = await segment.use(file => file.size());
  if (!belongs || footer.length !== size || !(await endsWithFrame(segment, footer))) {
    await segment.files.forget(segment.indexPath);
    return belongs ? footer : undefined;
  }
  segment.lastOffset = footer.lastOffset;
  segment.firstTime = footer.firstTime;
  segment.lastTime = footer.lastTime;
  segment.records = footer.records;
  segment.remembered = footer.remembered;
  segment.ids = footer.ids;
  segment.end = footer.length;
  segment.lastCrc = footer.lastCrc;
  segment.lastFrameAt = footer.lastFrameAt;
  segment.index = index;
  segment.sealed = true;
  return footer;
}

/** Whether the file ends with the frame that its index names: a copy of another time may be of the same length. */
async function endsWithFrame(segment: Segment, footer: IndexFooter): Promise<boolean> {
  const buffer = Buffer.alloc(frameHeaderBytes);
  const got = await segment.use(file => file.read(buffer, 0, buffer.length, footer.lastFrameAt));
  const frame = new FrameHeader();
  return (
    got === buffer.length &&
    frame.read(buffer, 0, segment.seed) &&
    frame.crc === footer.lastCrc &&
    footer.lastFrameAt + frame.length === footer.length
  );
}

/** Blocks of the directory that are read and looked through at once: half a millisecond of work. */
const blocksOfRun = 16;

/** The index of a sealed segment: the Bloom filter in memory, everything else in its file. */
export class SealedIndex implements SegmentIndex {
  readonly footer: IndexFooter;
  readonly ended: readonly (readonly [topic: string, offset: number])[];
  readonly #segment: Segment;
  readonly #reading: IndexReading;
  readonly #bloom: Buffer;

  private constructor(
    segment: Segment,
    reading: IndexReading,
    footer: IndexFooter,
    bloom: Buffer,
    ended: readonly (readonly [string, number])[],
  ) {
    this.#segment = segment;
    this.#reading = reading;
    this.footer = footer;
    this.#bloom = bloom;
    this.ended = ended;
  }

  /** Rejects with IndexDamaged, or ENOENT when there is none. */
  static async open(segment: Segment, reading: IndexReading): Promise<SealedIndex> {
    const size = await segment.files.use(segment.indexPath, file => file.size());
    const footerAt = Math.max(0, size - indexFooterBytes);
    const footer = decodeIndexFooter(await readBytes(segment, reading, footerAt, size - footerAt));
    if (footer === undefined) throw new IndexDamaged(segment, 'its footer fails its checksum');
    const bloom = await readPart(segment, reading, footer.bloom, 'the Bloom filter');
    const ended: unknown = JSON.parse((await readPart(segment, reading, footer.ended, 'the ended topics')).toString());
    return new SealedIndex(segment, reading, footer, bloom, ended as readonly (readonly [string, number])[]);
  }

  mayHold(topic: string): boolean {
    return bloomMayHold(this.#bloom, topic);
  }

  async postings(topic: string): Promise<PostingList | undefined> {
    const fences = await this.#fences();
    const block = lastAtMost(fences, topic);
    if (block === -1) return undefined;
    const entry = (await this.#block(fences[block]!)).find(entry => entry.topic === topic);
    if (entry === undefined) return undefined;
    return entry.count === 1 ? [entry.posting] : this.#list(entry);
  }

  matching(filters: FilterSet): Promise<TopicSet> {
    return this.#part(`match ${filters.key}`, async () => {
      const set = new TopicSet(this.footer.numbers);
      const prefix = literalPrefix(filters);
      const fences = await this.#fences();
      const start = Math.max(0, lastAtMost(fences, prefix));
      const beyond = fences.findIndex(({ first }, b) => b > start && first > prefix && !first.startsWith(prefix));
      const blocks = fences.slice(start, beyond === -1 ? fences.length : beyond);
      const visit = (topic: string, number: number): void => {
        if (filters.matches(topic)) set.add(number);
      };
      for (let b = 0; b < blocks.length; b += blocksOfRun) {
        // runs are read from the file: the event loop gets its turns
        await this.#visitBlocks(blocks.slice(b, b + blocksOfRun), visit);
      }
      return { value: set, bytes: (this.footer.numbers >>> 3) + 64 };
    });
  }

  async topics(prefix: string, after: string, limit: number): Promise<readonly IndexedTopic[]> {
    const start = after > prefix ? after : prefix;
    const fences = await this.#fences();
    const found: IndexedTopic[] = [];
    for (let b = Math.max(0, lastAtMost(fences, start)); b < fences.length && found.length < limit; b++) {
      if (fences[b]!.first > start && !fences[b]!.first.startsWith(prefix)) break;
      for (const entry of await this.#block(fences[b]!))
        if (entry.topic > after && entry.topic.startsWith(prefix) && found.length < limit) found.push(entry);
    }
    return found;
  }

  async frameAt(offset: number): Promise<number> {
    return (await this.#sparse()).frameAt(offset, this.#segment.header.framesAt);
  }

  async frameSince(time: number): Promise<number> {
    return (await this.#sparse()).frameSince(time, this.#segment.header.framesAt);
  }

  #fences(): Promise<readonly Fence[]> {
    return this.#part('fences', async () => {
      const bytes = await readPart(this.#segment, this.#reading, this.footer.fences, 'the table of blocks');
      const fences: Fence[] = [];
      for (let at = 0; at < bytes.length; ) {
        const length = bytes.readUInt16LE(at + 12);
        fences.push({
          at: bytes.readDoubleLE(at),
          bytes: bytes.readUInt32LE(at + 8),
          first: bytes.toString('utf8', at + 14, at + 14 + length),
        });
        at += 14 + length;
      }
      return { value: fences, bytes: bytes.length * 2 + fences.length * 64 };
    });
  }

  #sparse(): Promise<SparseIndex> {
    return this.#part('sparse', async () => {
      const bytes = await readPart(this.#segment, this.#reading, this.footer.sparse, 'the sparse index');
      const offsets: number[] = [];
      const positions: number[] = [];
      const times: number[] = [];
      for (let at = 0; at < bytes.length; at += 24) {
        offsets.push(bytes.readDoubleLE(at));
        positions.push(bytes.readDoubleLE(at + 8));
        times.push(bytes.readDoubleLE(at + 16));
      }
      return { value: new SparseIndex(offsets, positions, times), bytes: bytes.length };
    });
  }

  #block(fence: Fence): Promise<readonly DirectoryEntry[]> {
    return this.#part(`block ${fence.at}`, async () => ({
      value: await this.#readBlock(fence),
      bytes: fence.bytes * 3,
    }));
  }

  async #readBlock({ at, bytes: length }: Fence): Promise<readonly DirectoryEntry[]> {
    const bytes = await readBytes(this.#segment, this.#reading, at, length);
    const entries = decodeBlock(bytes, this.#segment.firstOffset);
    if (entries === undefined) throw blockDamaged(this.#segment, at);
    return entries;
  }

  /** Blocks that follow each other in the file. */
  async #visitBlocks(run: readonly Fence[], visit: Visit): Promise<void> {
    const start = run[0]!.at;
    const end = run[run.length - 1]!.at + run[run.length - 1]!.bytes;
    const { memory } = this.#reading.cache;
    const bytes = memory.take(end - start);
    await readFully(this.#segment, this.#reading, start, bytes, readOnce);
    for (const { at, bytes: length } of run)
      if (!visitBlock(bytes.subarray(at - start, at - start + length), visit)) throw blockDamaged(this.#segment, at);
    memory.give(bytes);
  }

  #list(entry: DirectoryEntry): Promise<PostingList> {
    return this.#part(`list ${entry.posting}`, async () => {
      const at = this.footer.postingsAt + entry.posting * 4;
      const bytes = await readBytes(this.#segment, this.#reading, at, entry.count * 4);
      if (crc32(bytes) !== entry.postingCrc)
        throw new IndexDamaged(this.#segment, `the postings of ${JSON.stringify(entry.topic)} fail their checksum`);
      const list = new Uint32Array(entry.count);
      for (let i = 0; i < list.length; i++) list[i] = bytes.readUInt32LE(i * 4);
      return { value: list, bytes: bytes.length };
    });
  }

  #part<T>(name: string, load: () => Promise<{ value: T; bytes: number }>): Promise<T> {
    return this.#reading.cache.get(`${this.#segment.name} ${name}`, load);
  }
}

type Visit = (topic: string, number: number) => void;

function blockDamaged(segment: Segment, at: number): IndexDamaged {
  return new IndexDamaged(segment, `the block at ${at} fails its checksum`);
}

interface Fence {
  readonly at: number;
  readonly bytes: number;
  /** First topic of the block. */
  readonly first: string;
}

function lastAtMost(fences: readonly Fence[], topic: string): number {
  let low = 0;
  let high = fences.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (fences[mid]!.first <= topic) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}

/** What every topic that the filters match begins with. */
function literalPrefix(filters: FilterSet): string {
  if (filters.filters.length !== 1) return '';
  const levels = filters.filters[0]!.split('/');
  const wild = levels.findIndex(level => level === '+' || level === '#');
  // `a/#` matches `a` too: the slash before the wildcard is no part of it
  return wild === -1 ? filters.filters[0]! : levels.slice(0, wild).join('/');
}

async function readPart(segment: Segment, reading: IndexReading, part: IndexPart, what: string): Promise<Buffer> {
  const bytes = await readBytes(segment, reading, part.at, part.bytes);
  if (crc32(bytes) !== part.crc) throw new IndexDamaged(segment, `${what} fails its checksum`);
  return bytes;
}

async function readBytes(segment: Segment, reading: IndexReading, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  await readFully(segment, reading, at, buffer);
  return buffer;
}

function readAgain(file: DiskFile, buffer: Buffer, at: number): Promise<number> {
  return file.read(buffer, 0, buffer.length, at);
}

async function readFully(
  segment: Segment,
  { gate }: IndexReading,
  at: number,
  buffer: Buffer,
  read: typeof readAgain = readAgain,
): Promise<void> {
  const { files, indexPath } = segment;
  const got = await gate
    .run(() => files.use(indexPath, file => read(file, buffer, at)))
    .catch((error: unknown) => {
      // the segment tells the same, and the index is written to other sectors
      if (errorCode(error) === 'EIO') throw new IndexDamaged(segment, unreadable);
      throw error;
    });
  if (got < buffer.length) throw new IndexDamaged(segment, 'the file ends early');
}
