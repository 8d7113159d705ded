// Who runs where: the server has one core for itself, everything that loads it has the other.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

export const serverCore = 0;
/**
 * With a single core both share it; `describeMachine` says so. Only the benchmark's own process may ask: one that is
 * pinned sees a single core.
 */
export const loadCore: number = availableParallelism() > 1 ? 1 : 0;

/**
 * Starts `command` on one core; it gets SIGTERM when this process dies in whatever way. setpriv and taskset replace
 * themselves by the command, so that the pid and the IPC channel are the command's.
 */
export function spawnPinned(
  core: number,
  command: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const wrapped = ['--pdeathsig', 'TERM', 'taskset', '--cpu-list', String(core), command, ...args];
  return spawn('setpriv', wrapped, options);
}

/** Keeps this process, which only waits, off the server's core. */
export function pinSelf(): void {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(loadCore), String(process.pid)], {
    stdio: 'ignore',
  });
}
