import type { Reader } from '../hub/index.ts';
import type { Tokens } from '../log/index.ts';

/**
 * Where a poll stands. The next poll knows nothing else: so the cursor says of which snapshot it is in the middle, or what
 * gap was told that it has not passed.
 */
export function cursorOf(tokens: Tokens, { offset, time, snapshotTo, toldTo }: Reader): string {
  if (snapshotTo !== undefined) return tokens.within(offset, time, snapshotTo);
  return toldTo === undefined ? tokens.of(offset, time) : tokens.behindGap(offset, time, toldTo);
}
