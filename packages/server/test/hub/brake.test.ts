import { isTailraceError } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { Brake } from '../../src/hub/index.ts';
import { settle } from './simulation.ts';

describe('the brake', () => {
  it('lets everything through while delivery follows', () => {
    const brake = new Brake(100, 200);
    brake.update(100);
    expect(() => brake.admit()).not.toThrow();
    expect(brake.release()).toBeUndefined();
  });

  it('holds acks beyond the target until the lag is back at it', async () => {
    const brake = new Brake(100, 200);
    brake.update(101);
    let released = 0;
    for (let i = 0; i < 3; i++) void brake.release()!.then(() => released++);
    brake.update(150);
    await settle(1);
    expect(released).toBe(0);
    expect(brake.heldCount).toBe(3);
    brake.update(100);
    await settle(1);
    expect(released).toBe(3);
    expect(brake.heldCount).toBe(0);
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
