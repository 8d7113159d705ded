import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TopicHash } from '../../src/log/topic-hash.ts';

test('the hash of a topic is that of its bytes, wherever they lie', () => {
  const hash = new TopicHash(0x12345678, -5);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), fc.nat(9), (topic, before) => {
      const bytes = Buffer.concat([Buffer.alloc(before, 0xff), Buffer.from(topic), Buffer.alloc(9, 0xee)]);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      expect(hash.of(topic)).toBe(hash.ofBytes(view, before, bytes.length - 9));
    }),
  );
});

test('another key makes another hash, and each bit of it is of use', () => {
  const topics = Array.from({ length: 4096 }, (_, i) => `iot/site-00001/device-${i}/temperature`);
  const one = new TopicHash(1, 2);
  const other = new TopicHash(1, 3);
  expect(topics.filter(topic => one.of(topic) === other.of(topic)).length).toBeLessThan(4);
  for (let bit = 0; bit < 32; bit++) {
    const set = topics.filter(topic => (one.of(topic) >>> bit) & 1).length;
    // 2048 on average, with a deviation of 32
    expect(Math.abs(set - 2048)).toBeLessThan(200);
  }
});

test('names that differ only in trailing zeros have hashes of their own', () => {
  const hash = new TopicHash(1, 2);
  const hashes = ['a', 'a\0', 'a\0\0', 'a\0\0\0', 'a\0\0\0\0'].map(topic => hash.of(topic));
  expect(new Set(hashes).size).toBe(5);
});
