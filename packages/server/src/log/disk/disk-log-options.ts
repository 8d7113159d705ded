import type { Clock } from '../clock.ts';
import type { CommonLogOptions, ScrubOptions } from '../options.ts';
import type { Random } from '../random.ts';
import type { Disk } from './files/disk.ts';

export interface DiskLogOptions extends CommonLogOptions {
  /** Created when missing; owned by one process at a time. */
  readonly directory: string;
  readonly disk?: Disk | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  /** Bytes of one segment; a larger record still fits into one of its own. */
  readonly segmentBytes?: number | undefined;
  /** Goes on after corruption, without what is lost; the lost offsets are reported. */
  readonly acceptLoss?: boolean | undefined;
  /** Takes the directory from an owner that hangs: see `OwnOptions`. */
  readonly takeOver?: boolean | undefined;
  readonly scrub?: ScrubOptions | undefined;
}
