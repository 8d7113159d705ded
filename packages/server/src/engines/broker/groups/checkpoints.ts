import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { CheckpointPart } from './command.ts';

/** Bytes of one part, before they are written as text. */
const partBytes = 128 * 1024;

/** Parts of what the fold had made of all up to a position of the ledger. */
export function partsOf(saved: Buffer, upTo: number, epoch: number): readonly CheckpointPart[] {
  const bytes = deflateRawSync(saved);
  const parts = Math.ceil(bytes.length / partBytes);
  return Array.from({ length: parts }, (_, part) => ({
    kind: 'checkpoint',
    upTo,
    epoch,
    part,
    parts,
    bytes: bytes.subarray(part * partBytes, (part + 1) * partBytes).toString('base64'),
  }));
}

/** Puts the parts of one node together, which come in order. */
export class CheckpointReader {
  #parts: CheckpointPart[] = [];

  /** What was saved, when this is the last part. */
  take(part: CheckpointPart): Buffer | undefined {
    if (part.part === 0) this.#parts = [];
    if (part.part !== this.#parts.length || part.upTo !== (this.#parts[0] ?? part).upTo) return undefined;
    this.#parts.push(part);
    if (this.#parts.length < part.parts) return undefined;
    const bytes = Buffer.concat(this.#parts.map(({ bytes }) => Buffer.from(bytes, 'base64')));
    this.#parts = [];
    return inflateRawSync(bytes);
  }
}
