import { describe, expect, it } from 'vitest';
import { Deadlines, MixedDeadlines } from '../../src/hub/index.ts';
import { SimulatedClock } from './simulation.ts';

class Item {
  settled = false;
  expired = 0;
  expire(): void {
    this.settled = true;
    this.expired++;
  }
}

describe('deadlines', () => {
  it('expire what is over time, once, and nothing before', () => {
    const clock = new SimulatedClock();
    const deadlines = new Deadlines(clock, 100);
    const first = new Item();
    deadlines.add(first);
    clock.ms += 60;
    const second = new Item();
    deadlines.add(second);
    deadlines.sweep();
    expect([first.expired, second.expired]).toEqual([0, 0]);
    clock.ms += 50;
    deadlines.sweep();
    deadlines.sweep();
    expect([first.expired, second.expired]).toEqual([1, 0]);
    clock.ms += 100;
    deadlines.sweep();
    expect([first.expired, second.expired]).toEqual([1, 1]);
    expect(deadlines.size).toBe(0);
  });

  it('do not hold what is settled longer than the one before it waits', () => {
    const clock = new SimulatedClock();
    const deadlines = new Deadlines(clock, 1000);
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 1000; i++) {
        const item = new Item();
        deadlines.add(item);
        item.settled = true;
      }
      clock.ms += 1;
      deadlines.sweep();
      expect(deadlines.size).toBe(0);
    }
  });

  it('keep at most what came within one deadline behind one that never settles', () => {
    const clock = new SimulatedClock();
    clock.readCost = 0;
    const deadlines = new Deadlines(clock, 100);
    deadlines.add(new Item());
    for (let i = 0; i < 20_000; i++) {
      const item = new Item();
      deadlines.add(item);
      item.settled = true;
      clock.ms += 0.1;
      if (i % 100 === 0) deadlines.sweep();
    }
    expect(deadlines.size).toBeLessThan(1200);
  });

  it('take one that is added while another expires', () => {
    const clock = new SimulatedClock();
    const deadlines = new Deadlines(clock, 100);
    const late = new Item();
    deadlines.add({ settled: false, expire: () => deadlines.add(late) });
    clock.ms += 200;
    deadlines.sweep();
    expect(late.expired).toBe(0);
    clock.ms += 200;
    deadlines.sweep();
    expect(late.expired).toBe(1);
  });
});

describe('mixed deadlines', () => {
  it('expire each in its own time, whatever came first', () => {
    const clock = new SimulatedClock();
    const deadlines = new MixedDeadlines(clock);
    const [long, short, settled] = [new Item(), new Item(), new Item()];
    deadlines.add(long, 1000);
    deadlines.add(short, 100);
    deadlines.add(settled, 100);
    settled.settled = true;
    clock.advance(60);
    expect([long.expired, short.expired, deadlines.size]).toEqual([0, 0, 2]);
    clock.advance(60);
    expect([long.expired, short.expired, settled.expired]).toEqual([0, 1, 0]);
    expect(deadlines.size).toBe(1);
    clock.advance(900);
    expect([long.expired, short.expired, deadlines.size]).toEqual([1, 1, 0]);
  });

  it('have one timer, and only while one of them waits', () => {
    const clock = new SimulatedClock();
    let timers = 0;
    const every = clock.every.bind(clock);
    clock.every = (ms, task) => {
      const stop = every(ms, task);
      timers++;
      return () => {
        timers--;
        stop();
      };
    };
    const deadlines = new MixedDeadlines(clock);
    for (let round = 0; round < 3; round++) {
      expect(timers).toBe(0);
      const items = Array.from({ length: 100 }, () => new Item());
      for (const [i, item] of items.entries()) deadlines.add(item, 100 + i);
      expect(timers).toBe(1);
      for (const item of items.slice(1)) item.settled = true;
      clock.advance(50);
      expect([timers, deadlines.size]).toEqual([1, 1]);
      clock.advance(100);
    }
    expect(timers).toBe(0);
  });
});
