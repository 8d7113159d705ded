// CPU time of processes that are no part of a run. Not what the counters of a core leave over: the kernel samples those,
// and they hold what interrupts and kernel threads do for the run's own sockets and files.
import { readdirSync, readFileSync } from 'node:fs';

export const ticksPerSecond = 100; // USER_HZ, fixed by the Linux ABI

const kernelThread = 0x00200000; // PF_KTHREAD

export interface Usage {
  parent: number;
  ofKernel: boolean;
  /** Ticks of all its threads, user and system. */
  own: number;
  /** Ticks of the children that it has waited for, with theirs. */
  children: number;
  /** Where it ran last. */
  core: number;
}

/** Undefined when the process is gone. */
export function usageOf(pid: number): Usage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // after "(command)" the fields of proc(5) count from 3
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const field = (number: number): number => Number(fields[number - 3]);
    return {
      parent: field(4),
      ofKernel: (field(9) & kernelThread) !== 0,
      own: field(14) + field(15),
      children: field(16) + field(17),
      core: field(39),
    };
  } catch {
    return undefined;
  }
}

/** What all processes have used so far but kernel threads, `root` and everything below it. */
export function readOthers(root: number): Map<number, Usage> {
  const all = new Map<number, Usage>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const usage = Number.isNaN(pid) ? undefined : usageOf(pid);
    if (usage !== undefined) all.set(pid, usage);
  }
  const isOfRun = (pid: number): boolean => {
    const usage = all.get(pid);
    return pid === root || (usage !== undefined && isOfRun(usage.parent));
  };
  return new Map([...all].filter(([pid, { ofKernel }]) => !ofKernel && !isOfRun(pid)));
}

/** Ticks that were used between two readings on `cores`, also by processes that came and went in between. */
export function ticksBetween(
  before: ReadonlyMap<number, Usage>,
  after: ReadonlyMap<number, Usage>,
  cores: readonly number[],
): number {
  let own = 0;
  let children = 0;
  for (const [pid, usage] of after) {
    const known = before.get(pid);
    if (cores.includes(usage.core)) own += usage.own - (known?.own ?? 0);
    children += usage.children - (known?.children ?? 0);
  }
  // who ended in between is now among somebody's children, with what it had used before
  for (const [pid, usage] of before) if (!after.has(pid)) children -= usage.own + usage.children;
  return own + Math.max(0, children);
}
