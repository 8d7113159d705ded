import * as path from 'node:path';
import { type DiskFile, errorCode, readOnce } from '../files/disk.ts';
import type { Gate } from '../read/gate.ts';
import { type Damage, LogDamaged } from './damage.ts';
import type { Segment } from './segment.ts';

/** Fills the buffer as far as the file goes. A sector that cannot be read is damage, and so is a file that is gone. */
export function readInto(buffer: Buffer, segment: Segment, gate: Gate, position: number): Promise<number> {
  return readWith(file => file.read(buffer, 0, buffer.length, position), segment, gate, position);
}

/** The same for a part of a scan. */
export function readOnceInto(buffer: Buffer, segment: Segment, gate: Gate, position: number): Promise<number> {
  return readWith(file => readOnce(file, buffer, position), segment, gate, position);
}

async function readWith(
  read: (file: DiskFile) => Promise<number>,
  segment: Segment,
  gate: Gate,
  position: number,
): Promise<number> {
  try {
    return await gate.run(() => segment.use(read));
  } catch (cause) {
    const code = errorCode(cause);
    if (code !== 'EIO' && code !== 'ENOENT') throw cause;
    const what = code === 'EIO' ? 'the disk cannot read it (EIO)' : 'the file is missing';
    throw readDamage(segment, { position, what }, cause);
  }
}

/** What a read rejects with that has met damage in the segment. */
export function readDamage(segment: Segment, damage: Omit<Damage, 'segment'>, cause?: unknown): LogDamaged {
  return new LogDamaged(
    path.dirname(segment.path),
    [{ segment: segment.name, ...damage }],
    'Run `tailrace log verify` on the data directory to see all of it, and `tailrace log repair` to save the rest.',
    cause,
  );
}
