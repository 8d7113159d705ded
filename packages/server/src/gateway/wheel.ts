import type { Clock } from '../log/index.ts';

/** Something that beats: a connection. The wheel keeps its place in it, so that leaving costs nothing. */
export interface Beating {
  wheelSlot: number;
  wheelIndex: number;
  /** Called when its time has come; returns the ms until the next beat. It has left the wheel then. */
  beat(): number;
}

/**
 * One timing wheel for all connections (I8): a slot holds those whose time comes with that turn of the hand. The
 * connections of a storm stay spread as they came.
 */
export class Wheel {
  readonly #slots: Beating[][];
  /** One step of the hand, ms: a beat comes up to this late, never early. */
  readonly tickMs: number;
  readonly #stop: () => void;
  #hand = 0;
  #turning = false;

  /** `longestMs`: the longest time between two beats of one connection. */
  constructor(clock: Clock, longestMs: number) {
    this.tickMs = Math.max(10, Math.min(500, Math.floor(longestMs / 50)));
    this.#slots = Array.from({ length: Math.ceil(longestMs / this.tickMs) + 2 }, () => []);
    this.#stop = clock.every(this.tickMs, () => this.#turn());
  }

  get size(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.length, 0);
  }

  add(item: Beating, afterMs: number): void {
    // between two turns a part of the present step is over already
    const steps = Math.max(1, Math.ceil(afterMs / this.tickMs)) + (this.#turning ? 0 : 1);
    const ahead = Math.min(this.#slots.length - 1, steps);
    const slot = (this.#hand + ahead) % this.#slots.length;
    item.wheelSlot = slot;
    item.wheelIndex = this.#slots[slot]!.length;
    this.#slots[slot]!.push(item);
  }

  remove(item: Beating): void {
    if (item.wheelSlot < 0) return;
    const slot = this.#slots[item.wheelSlot]!;
    const last = slot.pop()!;
    if (last !== item) {
      slot[item.wheelIndex] = last;
      last.wheelIndex = item.wheelIndex;
    }
    item.wheelSlot = -1;
  }

  stop(): void {
    this.#stop();
  }

  #turn(): void {
    this.#hand = (this.#hand + 1) % this.#slots.length;
    const due = this.#slots[this.#hand]!;
    this.#turning = true;
    while (due.length > 0) {
      const item = due.pop()!;
      item.wheelSlot = -1;
      const next = item.beat();
      if (next > 0) this.add(item, next);
    }
    this.#turning = false;
  }
}
