import { checkTopic, matchFilter } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Mapping } from '../../src/engines/bridge/mapping.ts';

const limits = { topicBytes: 512, topicLevels: 32 };
const keys = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.string({ unit: 'binary', minLength: 1 }).map(text => new Uint8Array(Buffer.from(text))),
  fc.constantFrom('.', '..', '+', '#', '%', 'a/b', 'a%2Fb', '%2E').map(text => new Uint8Array(Buffer.from(text))),
);

describe('topics by the keys of records', () => {
  test('every key makes a valid topic that the rule claims', () => {
    fc.assert(
      fc.property(keys, fc.constantFrom('orders/{key}', 'shop/{partition}/{key}', 'shop/{key}/events'), (key, to) => {
        const mapping = new Mapping(to);
        const topic = mapping.topicOf(key, 3);
        expect(() => checkTopic(topic, limits)).not.toThrow();
        expect(topic.split('/')).toHaveLength(to.split('/').length);
        expect(mapping.filtersOf(3).some(filter => matchFilter(filter, topic))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('two keys never have one topic', () => {
    const mapping = new Mapping('orders/{key}');
    fc.assert(
      fc.property(keys, keys, (one, other) => {
        const isSame = Buffer.compare(one, other) === 0;
        expect(mapping.topicOf(one, 0) === mapping.topicOf(other, 0)).toBe(isSame);
      }),
      { numRuns: 2000 },
    );
  });

  test('a record without a key has the topic without that level', () => {
    expect(new Mapping('orders/{key}').topicOf(null, 0)).toBe('orders');
    expect(new Mapping('shop/{key}/events').topicOf(new Uint8Array(), 0)).toBe('shop/events');
    expect(new Mapping('shop/{key}/events').filtersOf(0)).toEqual(['shop/+/events', 'shop/events']);
    expect(new Mapping('prices').filtersOf(0)).toEqual(['prices']);
  });
});
