import { readFileSync } from 'node:fs';

/** Descriptors kept for the log, requests to publish and the process itself. */
const reserved = 512;

/** How many connections the limit on open files leaves room for, at most `wanted`. */
export function connectionsAllowed(wanted: number): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? wanted : Math.max(1, Math.min(wanted, Number(soft) - reserved));
  } catch {
    return wanted; // no /proc: the system has its say when descriptors run out
  }
}
