import { describe, expect, it } from 'vitest';
import { Slices } from '../../src/hub/slices.ts';
import type { Clock } from '../../src/log/index.ts';

/** A clock that moves only when told to, with the loop's next turn in the test's hand. */
class ManualClock implements Clock {
  ms = 1000;
  readonly turns: (() => void)[] = [];
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  soon(task: () => void): void {
    this.turns.push(task);
  }
  every(): () => void {
    return () => {};
  }
  after(): () => void {
    return () => {};
  }
  turn(): void {
    this.turns.shift()!();
  }
}

const noHooks = { beforeRound: (): void => {}, afterSlice: (): void => {} };

/** Writes of `bytes`, each taking `cost` ms, until the slice ends; notes how long each slice lasted. */
function worker(
  clock: ManualClock,
  cost: number,
  bytes: number,
): { step(slices: Slices): boolean; readonly lasted: number[] } {
  const lasted: number[] = [];
  return {
    lasted,
    step(slices) {
      const start = clock.ms;
      do clock.ms += cost;
      while (!slices.spent(bytes));
      lasted.push(clock.ms - start);
      return true;
    },
  };
}

describe('slices', () => {
  it('last a tenth of a millisecond when the loop did nothing else', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const job = worker(clock, 0.02, 5000);
    slices.add(job);
    clock.turn();
    clock.turn();
    clock.turn();
    for (const lasted of job.lasted.slice(1)) {
      expect(lasted).toBeGreaterThan(0.099);
      expect(lasted).toBeLessThan(0.13);
    }
  });

  it('last as long as the loop spent elsewhere since the last one, at most 20 ms', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const job = worker(clock, 0.1, 5000);
    slices.add(job);
    clock.turn();
    for (const elsewhere of [3, 7, 200]) {
      clock.ms += elsewhere;
      clock.turn();
    }
    expect(job.lasted[1]).toBeCloseTo(3, 0);
    expect(job.lasted[2]).toBeCloseTo(7, 0);
    expect(job.lasted[3]).toBeCloseTo(20, 0);
  });

  it('read the clock after each large write, and after 4 small ones', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const small = worker(clock, 10, 100);
    const large = worker(clock, 10, 4097);
    slices.add(small);
    clock.turn();
    expect(small.lasted[0]).toBe(40);
    const other = new Slices(clock, noHooks);
    other.add(large);
    clock.turns.pop()!();
    expect(large.lasted[0]).toBe(20);
  });

  it('tell when each job that waited has had its turn', () => {
    const clock = new ManualClock();
    const log: string[] = [];
    const slices = new Slices(clock, { ...noHooks, beforeRound: () => log.push('|') });
    const job = (name: string, times: number): { step(): boolean } => ({
      step: () => {
        log.push(name);
        clock.ms += 15;
        if (name === 'b' && times === 2) slices.add(job('d', 1));
        return --times > 0;
      },
    });
    slices.add(job('a', 3));
    slices.add(job('b', 2));
    slices.add(job('c', 1));
    while (clock.turns.length > 0) clock.turn();
    expect(log.join('')).toBe('|abc|adb|a');
    slices.add(job('a', 1));
    while (clock.turns.length > 0) clock.turn();
    expect(log.join('')).toBe('|abc|adb|a|a');
  });

  it('give jobs their turns in order, and forget those that are done', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const log: string[] = [];
    const job = (name: string, times: number): { step(): boolean } => ({
      step: () => {
        log.push(name);
        clock.ms += 1;
        return --times > 0;
      },
    });
    slices.add(job('a', 3));
    slices.add(job('b', 1));
    slices.add(job('c', 2));
    while (clock.turns.length > 0) clock.turn();
    expect(log.join('')).toBe('abcaca');
    expect(slices.waiting).toBe(0);
  });

  it('yield to the loop between slices, however many jobs wait', () => {
    const clock = new ManualClock();
    let ends = 0;
    const slices = new Slices(clock, { ...noHooks, afterSlice: () => ends++ });
    let steps = 0;
    for (let i = 0; i < 10_000; i++)
      slices.add({
        step: () => {
          steps++;
          clock.ms += 0.05;
          return false;
        },
      });
    expect(clock.turns).toHaveLength(1);
    clock.turn();
    expect(steps).toBeLessThan(1000);
    expect(clock.turns).toHaveLength(1);
    while (clock.turns.length > 0) clock.turn();
    expect(steps).toBe(10_000);
    expect(ends).toBeGreaterThan(100);
  });

  it('take jobs that a job adds, and are scheduled once only', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const log: string[] = [];
    slices.add({
      step: () => {
        log.push('outer');
        slices.add({ step: () => log.push('inner') === 0 });
        return false;
      },
    });
    clock.turn();
    while (clock.turns.length > 0) clock.turn();
    expect(log).toEqual(['outer', 'inner']);
  });

  it('show the jobs that wait longest, without those done', () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, noHooks);
    const jobs = Array.from({ length: 300 }, () => ({ step: () => false }));
    for (const job of jobs) slices.add(job);
    const seen = [...slices.sample()];
    expect(seen.slice(0, 64)).toEqual(jobs.slice(0, 64));
    expect(seen).toHaveLength(128);
    expect(seen.at(-1)).toBe(jobs.at(-1));
  });
});
