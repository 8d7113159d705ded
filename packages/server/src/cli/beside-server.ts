import { readdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

/** For commands that read all of a log whose server may run: the server's commits go first wherever both want a core. */
export function workBesideServer(): void {
  try {
    // on Linux each thread has a priority of its own, which those that it starts inherit
    for (const thread of readdirSync('/proc/self/task')) setPriority(Number(thread), constants.priority.PRIORITY_LOW);
  } catch {
    setPriority(constants.priority.PRIORITY_LOW);
  }
}
