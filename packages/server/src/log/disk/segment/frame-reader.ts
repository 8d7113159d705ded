import type { LogRecord } from '../../record.ts';
import type { OffsetRange } from '../../report.ts';
import type { Gate } from '../read/gate.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import type { Damage, LogDamaged } from './damage.ts';
import { FrameHeader, frameHeaderBytes } from './frame.ts';
import { decodeRecord, recordHeaderBytes, recordIsWhole, recordLength } from './record-codec.ts';
import type { Segment } from './segment.ts';
import { readDamage, readInto, readOnceInto } from './segment-bytes.ts';

/** Bytes read at once on a scan. */
export const chunkBytes: number = 128 * 1024;

/**
 * Walks over the frames of a segment from a frame's position to the committed end, checking each. `buffer` and `at` are
 * the frame that `next` found: its records begin at `at + frameHeaderBytes`.
 */
export class FrameReader {
  readonly header: FrameHeader = new FrameHeader();
  buffer: Buffer<ArrayBuffer> = Buffer.alloc(0);
  at = 0;
  readonly #segment: Segment;
  readonly #gate: Gate;
  readonly #end: number;
  readonly #chunkBytes: number;
  readonly #read: typeof readInto;
  /** Position in the file of the first byte of `buffer`. */
  #base: number;
  readonly #memory: ChunkMemory | undefined;
  /** Frames passed, and the first offset behind them. */
  #passed = 0;
  #nextOffset: number;

  /** Reads `bytes` at once, more where a frame is larger, into `memory`: who needs a buffer no more may give it back. */
  constructor(segment: Segment, gate: Gate, position: number, bytes: number = chunkBytes, memory?: ChunkMemory) {
    this.#memory = memory;
    this.#chunkBytes = bytes;
    this.#read = bytes < chunkBytes ? readInto : readOnceInto;
    this.#segment = segment;
    this.#gate = gate;
    // what is committed later is not asked for: the caller's `to` lies below it
    this.#end = segment.end;
    this.#base = position;
    this.#nextOffset = segment.firstOffset;
  }

  /** Position of the frame in the file. */
  get position(): number {
    return this.#base + this.at;
  }

  /**
   * Moves to the next frame; false at the end. Throws LogDamaged when what is there is no whole frame. Of a frame that ends
   * before the offset `from` the header alone is checked: damage in it must not keep back those who have passed it.
   */
  async next(from = 0): Promise<boolean> {
    let position = this.#base;
    if (this.buffer.length > 0) {
      position = this.position + this.header.length;
      this.#passed++;
      if (this.header.count > 0) this.#nextOffset = this.header.last + 1;
    }
    if (position >= this.#end) return false;
    await this.#need(position, frameHeaderBytes);
    const { seed } = this.#segment;
    if (!this.header.read(this.buffer, this.at, seed)) throw this.#damage('no valid frame header');
    if (position + this.header.length > this.#end)
      throw this.#damage('the frame reaches beyond the end of the segment');
    if (this.header.count > 0 && this.header.last < from) return true;
    await this.#need(position, this.header.length);
    if (!this.header.bodyIsWhole(this.buffer, this.at, seed)) {
      const { first, last } = this.header;
      throw this.#damage('the frame fails its checksum', first, { from: first, to: last });
    }
    return true;
  }

  /** Calls `visit` with the place of each record of the frame until it returns false. The frame has been checked. */
  walk(visit: (at: number) => boolean): void {
    const { buffer, header } = this;
    let at = this.at + frameHeaderBytes;
    for (let i = 0; i < header.count; i++) {
      const length = recordLength(buffer, at);
      if (length < recordHeaderBytes)
        throw new Error(`segment ${this.#segment.name} was written wrongly: a record of ${length} bytes`);
      if (!visit(at)) return;
      at += length;
    }
  }

  /** Damage met at this frame, with its number and the first offset it can have: of one who began at the first frame. */
  placed(damage: Damage): Damage {
    return { frame: this.#passed, offset: this.#nextOffset, ...damage };
  }

  /** Makes `at` stand at `position` with `length` bytes behind it in the buffer. */
  async #need(position: number, length: number): Promise<void> {
    this.at = position - this.#base;
    if (this.at + length <= this.buffer.length) return;
    // a frame that lies across the end of a chunk is read on, not again: frames are half as long as a chunk
    const held = Math.max(0, this.buffer.length - this.at);
    const size = Math.min(Math.max(length, held + this.#chunkBytes), this.#end - position);
    // not the buffer there is: records given out may be views into it
    const buffer = this.#memory?.take(size) ?? Buffer.allocUnsafeSlow(size);
    if (held > 0) this.buffer.copy(buffer, 0, this.at);
    const got = held + (await this.#read(buffer.subarray(held), this.#segment, this.#gate, position + held));
    this.buffer = got < size ? buffer.subarray(0, got) : buffer;
    this.#base = position;
    this.at = 0;
    if (got < length) throw this.#damage('the file ends in the middle of a frame');
  }

  #damage(what: string, offset?: number, lost?: OffsetRange): LogDamaged {
    return readDamage(this.#segment, {
      position: this.position,
      ...(offset === undefined ? {} : { offset }),
      what,
      ...(lost === undefined ? {} : { lost }),
    });
  }
}

/**
 * Reads single records by their positions into `records`, each checked by its own crc: those before one that is damaged
 * are there when it rejects.
 */
export async function readRecordsAt(
  segment: Segment,
  gate: Gate,
  positions: readonly number[],
  records: LogRecord[] = [],
): Promise<LogRecord[]> {
  let buffer = Buffer.alloc(0);
  let base = 0;
  // the few that are longer are read twice
  const guess = Math.min(nearBytes, Math.max(recordHeaderBytes, Math.ceil(segment.recordBytes * 1.5)));
  for (const position of positions) {
    let at = position - base;
    const held = at >= 0 && at + recordHeaderBytes <= buffer.length && at + recordLength(buffer, at) <= buffer.length;
    if (!held) {
      // neighbours often lie close together: read on as far as the next positions are near
      buffer = await readAt(segment, gate, position, lastNear(positions, position) - position + guess);
      base = position;
      at = 0;
      const length = buffer.length < recordHeaderBytes ? 0 : recordLength(buffer, 0);
      if (length > buffer.length && position + length <= segment.end)
        buffer = await readAt(segment, gate, position, length);
    }
    if (!recordIsWhole(buffer, at, segment.seed))
      throw readDamage(segment, { position, what: 'the record fails its checksum' });
    records.push(decodeRecord(buffer, at, segment.firstOffset));
  }
  return records;
}

/** Most bytes to read at a record whose length is not known yet; records closer than this are read together. */
const nearBytes = 4096;

/** The last of the positions that are read together with the one at `from`. */
function lastNear(positions: readonly number[], from: number): number {
  let last = from;
  for (const position of positions) {
    if (position <= last) continue;
    if (position - last > nearBytes || position - from > chunkBytes) break;
    last = position;
  }
  return last;
}

async function readAt(segment: Segment, gate: Gate, position: number, length: number): Promise<Buffer<ArrayBuffer>> {
  const size = Math.max(0, Math.min(length, segment.end - position));
  const buffer = Buffer.allocUnsafeSlow(size);
  return buffer.subarray(0, await readInto(buffer, segment, gate, position));
}
