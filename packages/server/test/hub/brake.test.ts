import { isTailraceError } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { Brake, type Held } from '../../src/hub/index.ts';

const waiting = (released: () => void): Held => ({ released });

describe('the brake', () => {
  it('lets everything through while delivery follows', () => {
    const brake = new Brake(100, 200);
    brake.update(100);
    expect(() => brake.admit()).not.toThrow();
    expect(brake.hold(waiting(() => undefined))).toBe(false);
  });

  it('holds acks beyond the target until the lag is back at it', () => {
    const brake = new Brake(100, 200);
    brake.update(101);
    let released = 0;
    const held = [0, 1, 2].map(() => waiting(() => released++));
    for (const each of held) expect(brake.hold(each)).toBe(true);
    brake.update(150);
    expect(released).toBe(0);
    expect(brake.heldCount).toBe(3);
    brake.drop(held[1]!);
    expect(brake.heldCount).toBe(2);
    brake.update(100);
    expect(released).toBe(2);
    expect(brake.heldCount).toBe(0);
    brake.update(150);
    brake.update(0);
    expect(released).toBe(2);
  });

  it('refuses publishes beyond the limit, saying when to come back', () => {
    const brake = new Brake(100, 200);
    brake.update(200);
    expect(() => brake.admit()).not.toThrow();
    brake.update(740.4);
    let thrown: unknown;
    try {
      brake.admit();
    } catch (error) {
      thrown = error;
    }
    expect(isTailraceError(thrown) && thrown.toProblem()).toMatchObject({
      code: 'overloaded',
      status: 503,
      retryAfter: 740,
      outcome: 'none',
    });
    expect(brake.refused).toBe(1);
    brake.update(0);
    expect(() => brake.admit()).not.toThrow();
  });
});
