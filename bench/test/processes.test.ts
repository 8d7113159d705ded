import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { readOthers, ticksBetween, type Usage, usageOf } from '../processes.ts';
import { until } from '../wait.ts';

const some = 20; // ticks: a fifth of a second
const within = 20_000;
const busy = 'while :; do :; done';
/** A process that uses a while and ends. */
const shortLived = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A shell that runs `script`; lines that it reads and writes keep it in step with the test. */
function shell(script: string): { pid: number; next(): Promise<void>; go(): void } {
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  return {
    pid: child.pid!,
    next: async () => void (await once(child.stdout!, 'data')),
    go: () => void child.stdin!.write('\n'),
  };
}

function only(pids: readonly number[], usages: ReadonlyMap<number, Usage>): Map<number, Usage> {
  return new Map([...usages].filter(([pid]) => pids.includes(pid)));
}

const coresOf = (...readings: ReadonlyMap<number, Usage>[]): number[] =>
  readings.flatMap(reading => [...reading.values()].map(({ core }) => core));

describe('processes beside a run', () => {
  it('count with what they used in between', async () => {
    const run = shell('read line');
    const other = shell(busy);
    const before = readOthers(run.pid);
    const start = before.get(other.pid)!.own;
    await until(() => usageOf(other.pid)!.own >= start + some, within);
    const after = readOthers(run.pid);
    expect(ticksBetween(before, after, coresOf(after))).toBeGreaterThanOrEqual(some);
    const elsewhere = only([other.pid], after);
    expect(ticksBetween(before, elsewhere, [-1])).toBe(0);
  });

  it('are not the run, what it started, or the kernel', async () => {
    const run = shell(`${busy} & echo $!; wait`);
    let started = 0;
    children[0]!.stdout!.once('data', (text: Buffer) => (started = Number(text)));
    await until(() => started !== 0, within);
    try {
      const others = readOthers(run.pid);
      expect(others.has(run.pid)).toBe(false);
      expect(others.has(started)).toBe(false);
      expect(others.has(process.pid)).toBe(true);
      expect([...others.values()].some(({ ofKernel }) => ofKernel)).toBe(false);
      expect(readOthers(process.pid).has(started)).toBe(false);
      const beside = shell('read line');
      expect(readOthers(beside.pid).has(started)).toBe(true);
    } finally {
      process.kill(started, 'SIGKILL');
    }
  });

  it('count, too, when they came and went in between', async () => {
    const run = shell('read line');
    const other = shell(`echo ready; read line; for n in 1 2 3; do sh -c '${shortLived}'; done; echo done; read line`);
    await other.next();
    const before = only([other.pid], readOthers(run.pid));
    other.go();
    await other.next();
    const after = only([other.pid], readOthers(run.pid));
    const used = after.get(other.pid)!.children;
    expect(used).toBeGreaterThan(0);
    expect(ticksBetween(before, after, coresOf(after))).toBe(
      used + after.get(other.pid)!.own - before.get(other.pid)!.own,
    );
  });

  it('count without what they had used before, when they end in between', async () => {
    const run = shell('read line');
    const child = `${shortLived}; echo $$; read line`;
    const other = shell(`sh -c '${child}'; echo done; read line`);
    let ended = 0;
    children[1]!.stdout!.once('data', (text: Buffer) => (ended = Number(text)));
    await until(() => ended !== 0, within);
    const before = only([other.pid, ended], readOthers(run.pid));
    const used = before.get(ended)!.own;
    expect(used).toBeGreaterThan(5);
    other.go();
    await other.next();
    const after = only([other.pid, ended], readOthers(run.pid));
    expect(after.has(ended)).toBe(false);
    expect(after.get(other.pid)!.children).toBeGreaterThanOrEqual(used);
    expect(ticksBetween(before, after, coresOf(after))).toBeLessThan(used);
  });
});
