import { expect, test } from 'vitest';
import { rotateKey, unmask } from '../../../src/gateway/websocket/mask.ts';

const KEY = 0x9a_3b_c4_5d | 0;
const KEY_BYTES = [0x9a, 0x3b, 0xc4, 0x5d];

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + 7) & 0xff);
}

test('every alignment and length around the word threshold gives what the definition gives', () => {
  for (let offset = 0; offset < 8; offset++) {
    for (let length = 0; length < 140; length++) {
      const memory = pattern(offset + 2 + length + 5);
      // a view, so that the alignment of the memory differs from that of the position in the view
      const bytes = memory.subarray(offset);
      const expected = Uint8Array.from(bytes, (byte, at) =>
        at >= 2 && at < 2 + length ? byte ^ KEY_BYTES[(at - 2) % 4]! : byte,
      );
      unmask(bytes, 2, 2 + length, KEY);
      expect(Buffer.from(bytes).equals(expected), `offset ${offset}, length ${length}`).toBe(true);
    }
  }
});

test('a payload unmasked in two pieces with a rotated key is the payload unmasked at once', () => {
  const whole = pattern(1000);
  unmask(whole, 0, 1000, KEY);
  for (let split = 0; split <= 300; split++) {
    const pieces = pattern(1000);
    unmask(pieces, 0, split, KEY);
    unmask(pieces, split, 1000, rotateKey(KEY, split));
    expect(Buffer.from(pieces).equals(whole), `split at ${split}`).toBe(true);
  }
});

test('the key zero leaves the bytes as they are', () => {
  const bytes = pattern(500);
  unmask(bytes, 0, 500, 0);
  expect(bytes).toEqual(pattern(500));
});
