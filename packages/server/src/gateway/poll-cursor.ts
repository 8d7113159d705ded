import type { Reader, Tokens } from '../hub/index.ts';

/** Where a poll stands: in the middle of a snapshot the cursor says of which, since the next poll knows nothing else. */
export function cursorOf(tokens: Tokens, { offset, time, snapshotTo }: Reader): string {
  return snapshotTo === undefined ? tokens.of(offset, time) : tokens.within(offset, time, snapshotTo);
}
