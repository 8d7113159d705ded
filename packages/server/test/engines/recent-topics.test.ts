import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecentTopics } from '../../src/engines/recent-topics.ts';

test('the name is that of the bytes, whatever came before with its hash', () => {
  const recent = new RecentTopics();
  const name = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 8 }),
    fc.constantFrom('é', 'Ã©', 'a', 'b', 'x'.repeat(500)),
  );
  fc.assert(
    fc.property(name, fc.nat(3), fc.nat(5), (topic, hash, ahead) => {
      const bytes = Buffer.concat([Buffer.alloc(ahead, 0xff), Buffer.from(topic), Buffer.alloc(3, 0xff)]);
      expect(recent.of(bytes, ahead, bytes.length - 3, hash - 1)).toBe(topic.toWellFormed());
    }),
    { numRuns: 2000 },
  );
});

test('a topic that came before is the same text', () => {
  const recent = new RecentTopics();
  const bytes = Buffer.from('site/1/device/2');
  expect(recent.of(bytes, 0, bytes.length, -5)).toBe(recent.of(Buffer.from(bytes), 0, bytes.length, -5));
});
