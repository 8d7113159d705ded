import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Answer } from '../../src/engines/redis/answer.ts';

type Part = null | number | Buffer | Part[];

function encode(part: Part): Buffer {
  if (part === null) return Buffer.from('$-1\r\n');
  if (typeof part === 'number') return Buffer.from(`:${part}\r\n`);
  if (Array.isArray(part)) return Buffer.concat([Buffer.from(`*${part.length}\r\n`), ...part.map(encode)]);
  return Buffer.concat([Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')]);
}

/** What the answer says, read from its parts. */
function decode(answer: Answer): Part {
  let next = 0;
  const read = (): Part => {
    const [first, second] = answer.parts.subarray(next * 2, next * 2 + 2) as unknown as [number, number];
    next++;
    if (second === -1) return first === -1 ? null : Array.from({ length: first }, read);
    const bytes = Buffer.from(answer.bytes.subarray(first, second));
    return answer.bytes[first - 1] === ':'.charCodeAt(0) ? Number(bytes.toString()) : bytes;
  };
  const part = read();
  expect(next).toBe(answer.count);
  return part;
}

const { part: parts } = fc.letrec<{ part: Part }>(tie => ({
  part: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.nat(),
    fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes)),
    fc.array(tie('part'), { maxLength: 6 }),
  ),
}));

describe('answers of Redis', () => {
  test('are read alike in whatever pieces they come, one after another', () => {
    const answer = new Answer();
    fc.assert(
      fc.property(fc.array(parts, { minLength: 1, maxLength: 3 }), fc.array(fc.nat()), (said, cuts) => {
        for (const part of said) {
          const bytes = encode(part);
          const ends = [...new Set(cuts.map(cut => cut % bytes.length))].filter(end => end > 0).sort((a, b) => a - b);
          answer.clear();
          let from = 0;
          for (const end of ends) {
            expect(answer.take(Buffer.from(bytes.subarray(from, end)))).toBe(false);
            from = end;
          }
          expect(answer.take(Buffer.from(bytes.subarray(from)))).toBe(true);
          expect(answer.size).toBe(bytes.length);
          expect(decode(answer)).toEqual(part);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('may be larger than what memory there is', () => {
    const answer = new Answer();
    const large = [Buffer.alloc(3_000_000, 'x'), Buffer.alloc(10, 'y')];
    const bytes = encode([large]);
    for (let round = 0; round < 2; round++) {
      answer.clear();
      for (let at = 0; at < bytes.length; at += 65_536)
        expect(answer.take(bytes.subarray(at, at + 65_536))).toBe(at + 65_536 >= bytes.length);
      expect(encode(decode(answer)).equals(bytes)).toBe(true);
    }
  });

  test('refuse, or say that there is nothing', () => {
    const answer = new Answer();
    expect(answer.take(Buffer.from('-WRONGTYPE it is ano'))).toBe(false);
    expect(answer.take(Buffer.from('ther\r\n'))).toBe(true);
    expect(answer.error).toBe('WRONGTYPE it is another');
    answer.clear();
    expect(answer.error).toBeUndefined();
    expect(answer.take(Buffer.from('*-1\r\n'))).toBe(true);
    expect(answer.length(0)).toBe(-1);
  });

  test('that nobody asked for are noticed', () => {
    expect(() => new Answer().take(Buffer.from('+OK\r\n+OK\r\n'))).toThrow('more than it was asked');
    expect(() => new Answer().take(Buffer.from('>1\r\n+x\r\n'))).toThrow('not known');
  });
});
