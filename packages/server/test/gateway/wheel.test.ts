import { describe, expect, it } from 'vitest';
import { type Beating, Wheel } from '../../src/gateway/wheel.ts';
import { SimulatedClock, seeded } from '../hub/simulation.ts';

class Item implements Beating {
  wheelSlot = -1;
  wheelIndex = 0;
  readonly beats: number[] = [];
  next: number;
  readonly #clock: SimulatedClock;
  constructor(clock: SimulatedClock, next: number) {
    this.#clock = clock;
    this.next = next;
  }
  beat(): number {
    this.beats.push(this.#clock.ms);
    return this.next;
  }
}

function open(longest: number): { readonly clock: SimulatedClock; readonly wheel: Wheel } {
  const clock = new SimulatedClock();
  clock.readCost = 0;
  return { clock, wheel: new Wheel(clock, longest) };
}

/** Lets time pass in steps smaller than any tick. */
function pass(clock: SimulatedClock, ms: number): void {
  for (let i = 0; i < ms; i += 5) clock.advance(5);
}

describe('the wheel', () => {
  it('beats each item about when it wished, again and again', () => {
    const { clock, wheel } = open(25_000);
    const began = clock.ms;
    const items = [1000, 5000, 10_000, 25_000].map(ms => {
      const item = new Item(clock, ms);
      wheel.add(item, ms);
      return item;
    });
    pass(clock, 100_000);
    for (const item of items) {
      expect(item.beats.length).toBeGreaterThanOrEqual(Math.floor(100_000 / (item.next + 1000)));
      let last = began;
      for (const at of item.beats) {
        expect(at - last).toBeGreaterThanOrEqual(item.next - 500);
        expect(at - last).toBeLessThanOrEqual(item.next + 1000);
        last = at;
      }
    }
    expect(wheel.size).toBe(4);
  });

  it('beats nothing early, whenever it was added', () => {
    const { clock, wheel } = open(25_000);
    for (const after of [1, 499, 500, 501, 3000]) {
      for (const phase of [0, 5, 250, 495]) {
        pass(clock, 500 - (clock.ms % 500) + phase);
        const item = new Item(clock, 0);
        const began = clock.ms;
        wheel.add(item, after);
        pass(clock, after + 1500);
        expect(item.beats).toHaveLength(1);
        expect(item.beats[0]! - began).toBeGreaterThanOrEqual(after);
        expect(item.beats[0]! - began).toBeLessThanOrEqual(after + 1000);
      }
    }
  });

  it('lets go of an item that wants no further beat', () => {
    const { clock, wheel } = open(1000);
    const item = new Item(clock, 0);
    wheel.add(item, 100);
    pass(clock, 5000);
    expect(item.beats).toHaveLength(1);
    expect(wheel.size).toBe(0);
    wheel.remove(item);
  });

  it('keeps its order whatever is added and removed meanwhile', () => {
    const random = seeded(7);
    const { clock, wheel } = open(2000);
    const inside = new Set<Item>();
    for (let step = 0; step < 20_000; step++) {
      if (random.int(2) === 0) {
        const item = new Item(clock, 100 + random.int(1900));
        wheel.add(item, 1 + random.int(2000));
        inside.add(item);
      } else {
        const [item] = inside;
        if (item !== undefined) {
          wheel.remove(item);
          wheel.remove(item); // again does nothing
          inside.delete(item);
        }
      }
      if (step % 5 === 0) clock.advance(10);
      if (step % 1000 === 0) expect(wheel.size).toBe(inside.size);
    }
    const counts = [...inside].map(item => item.beats.length);
    pass(clock, 4000);
    for (const [i, item] of [...inside].entries()) expect(item.beats.length).toBeGreaterThan(counts[i]!);
    for (const item of inside) wheel.remove(item);
    expect(wheel.size).toBe(0);
  });

  it('lets an item remove itself, or another, while it beats', () => {
    const { clock, wheel } = open(1000);
    const others = Array.from({ length: 10 }, () => new Item(clock, 500));
    for (const item of others) wheel.add(item, 500);
    const killer: Beating = {
      wheelSlot: -1,
      wheelIndex: 0,
      beat: () => {
        for (const item of others) wheel.remove(item);
        return 0;
      },
    };
    wheel.add(killer, 500);
    pass(clock, 3000);
    expect(wheel.size).toBe(0);
    expect(others.every(item => item.beats.length <= 1)).toBe(true);
  });

  it('stops with its timer', () => {
    const { clock, wheel } = open(1000);
    const item = new Item(clock, 100);
    wheel.add(item, 100);
    wheel.stop();
    pass(clock, 5000);
    expect(item.beats).toEqual([]);
  });
});
