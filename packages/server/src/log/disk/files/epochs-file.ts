import type { EpochStart } from '../../epoch-list.ts';
import type { OffsetRange } from '../../report.ts';
import type { Disk } from './disk.ts';
import { readSmallFile, replaceSmallFile } from './small-file.ts';

const name = 'epochs';

/** Starts beyond this many are forgotten, oldest first; a cursor of such an epoch gets `reset`. */
const keptEpochs = 10_000;

/** What every start writes down before its first append. */
export interface EpochsFile {
  readonly starts: readonly EpochStart[];
  /** Segment numbers below this have been used. */
  readonly nextSegment: number;
  /**
   * Offsets whose loss was accepted: a hole there is no new damage. An empty range (`to` = `from` - 1) is a place where
   * it was accepted that the segment which begins at `from` does not follow the one before it.
   */
  readonly lost: readonly OffsetRange[];
}

/** Whether the loss of these offsets was accepted at an earlier start. */
export function lossWasAccepted(epochs: EpochsFile | undefined, from: number, to: number): boolean {
  return epochs?.lost.some(range => range.from <= from && range.to >= to) ?? false;
}

/** Whether it was accepted at an earlier start that the segment which begins at `first` follows another file. */
export function breakWasAccepted(epochs: EpochsFile | undefined, first: number): boolean {
  return epochs?.lost.some(range => range.from <= first && range.to >= first - 1) ?? false;
}

export async function readEpochs(disk: Disk, directory: string): Promise<EpochsFile | undefined> {
  const value = await readSmallFile(disk, directory, name);
  if (value === undefined) return undefined;
  const file = value as { epochs: [number, number][]; nextSegment: number; lost: [number, number][] };
  return {
    starts: file.epochs.map(([epoch, first]) => ({ epoch, first })),
    nextSegment: file.nextSegment,
    lost: file.lost.map(([from, to]) => ({ from, to })),
  };
}

export async function writeEpochs(disk: Disk, directory: string, file: EpochsFile): Promise<void> {
  const epochs = file.starts.slice(-keptEpochs).map(({ epoch, first }) => [epoch, first]);
  const lost = file.lost.map(({ from, to }) => [from, to]);
  await replaceSmallFile(disk, directory, name, { epochs, nextSegment: file.nextSegment, lost });
}
