import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HotMemory, type HotPlace } from '../../src/log/hot-memory.ts';

test('places are where no other is, whatever is taken and given back, and memory is used again', () => {
  const step = fc.record({ take: fc.integer({ min: 1, max: 3000 }), held: fc.integer({ min: 0, max: 20_000 }) });
  fc.assert(
    fc.property(fc.constantFrom(0, 1000, 20_000, 64_000), fc.array(step, { maxLength: 200 }), (bytes, steps) => {
      const memory = new HotMemory(bytes);
      const held: { place: HotPlace; size: number; mark: number }[] = [];
      let size = 0;
      for (const [i, { take, held: most }] of steps.entries()) {
        const place = memory.take(take);
        expect(place.at % 4).toBe(0);
        const mark = i % 251;
        place.chunk.bytes.fill(mark, place.at, place.at + take);
        held.push({ place, size: take, mark });
        for (size += take; size > most && held.length > 1; ) {
          const oldest = held.shift()!;
          const { chunk, at } = oldest.place;
          expect(chunk.bytes.subarray(at, at + oldest.size).every(byte => byte === oldest.mark)).toBe(true);
          memory.give(oldest.place);
          size -= oldest.size;
        }
      }
    }),
  );
});

test('a steady flow takes no more memory than it holds and a few chunks', () => {
  const memory = new HotMemory(160 * 1024);
  const chunks = new Set<unknown>();
  const held: HotPlace[] = [];
  for (let i = 0; i < 10_000; i++) {
    held.push(memory.take(500));
    chunks.add(held.at(-1)!.chunk);
    if (held.length > 300) memory.give(held.shift()!);
  }
  // 150 kB in chunks of 10 KiB
  expect(chunks.size).toBeLessThanOrEqual(18);
});
