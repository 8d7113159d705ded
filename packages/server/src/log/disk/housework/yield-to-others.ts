import { readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

/**
 * This thread runs only when no other wants to. On Linux a thread has a priority of its own; elsewhere it would be that of
 * the process, and stays as it is.
 */
export function yieldToOthers(): void {
  try {
    // <pid>/task/<tid>
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(thread, constants.priority.PRIORITY_LOW);
  } catch {
    // no Linux, or no /proc
  }
}
