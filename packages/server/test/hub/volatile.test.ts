import { checkMessage, filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { VolatileTail } from '../../src/hub/volatile.ts';
import { plainEncoding, type Received, SimulatedClock } from './simulation.ts';

const message = (topic: string, bytes = 1): ReturnType<typeof checkMessage> =>
  checkMessage(topic, Buffer.from(`"${'x'.repeat(bytes)}"`), { durability: 'none' });

function numbers(bytes: Buffer): number[] {
  if (bytes.length === 0) return [];
  const item = JSON.parse(bytes.toString()) as Received;
  return item.kind === 'records' ? [...item.offsets] : [];
}

describe('the tail of class `none`', () => {
  it('gives each cohort what matches and came after what it has seen', () => {
    const tail = new VolatileTail(100_000, new SimulatedClock());
    for (const topic of ['a', 'b', 'a', 'c']) tail.push(message(topic));
    expect(numbers(tail.block(plainEncoding, '', filterSet(['a']), 0).bytes)).toEqual([1, 3]);
    const block = tail.block(plainEncoding, '', filterSet(['+']), 2);
    expect(numbers(block.bytes)).toEqual([3, 4]);
    expect(block.next).toBe(4);
    expect(tail.block(plainEncoding, '', filterSet(['x']), 0)).toMatchObject({ count: 0, next: 4 });
  });

  it('shares the bytes among those that need the same', () => {
    const tail = new VolatileTail(100_000, new SimulatedClock());
    tail.push(message('a'));
    const first = tail.block(plainEncoding, '', filterSet(['a']), 0);
    expect(tail.block(plainEncoding, '', filterSet(['#']), 0)).toBe(first);
    tail.push(message('b'));
    expect(numbers(tail.block(plainEncoding, '', filterSet(['#']), 0).bytes)).toEqual([1, 2]);
  });

  it('forgets the oldest, never the memory', () => {
    const tail = new VolatileTail(10_000, new SimulatedClock());
    for (let i = 0; i < 1000; i++) tail.push(message('a', 100));
    let seen = 0;
    const got: number[] = [];
    for (;;) {
      const block = tail.block(plainEncoding, '', filterSet(['a']), seen);
      if (block.count === 0) break;
      got.push(...numbers(block.bytes));
      seen = block.next;
    }
    expect(got.at(-1)).toBe(1000);
    expect(got.length).toBeLessThan(50);
    expect(got).toEqual(got.map((_, i) => got[0]! + i));
  });
});
