import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkFilter,
  checkTopic,
  filterSet,
  isReserved,
  isTailraceError,
  isWildcard,
  matchFilter,
} from '../src/index.ts';

/** MQTT's rules, written as slowly and plainly as they can be. */
function model(filter: readonly string[], topic: readonly string[], first = true): boolean {
  const [head, ...rest] = filter;
  if (head === undefined) return topic.length === 0;
  const hidden = first && topic[0]!.startsWith('$');
  if (head === '#') return !hidden;
  if (topic.length === 0) return false;
  if (head === '+' ? hidden : head !== topic[0]) return false;
  if (topic.length === 1 && rest.length === 1 && rest[0] === '#') return true;
  return model(rest, topic.slice(1), false);
}

const level = fc.constantFrom('a', 'b', 'ab', 'a+', '#a', '+x', '$a', 'ü', '😀', ' ', '...', '$');
const topic = fc.array(level, { minLength: 1, maxLength: 5 });
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, rest]) => (rest || levels.length === 0 ? [...levels, '#'] : levels));

describe('matching', () => {
  it('is what the model says', () => {
    fc.assert(
      fc.property(filter, topic, (f, t) => {
        checkFilter(f.join('/'));
        expect(matchFilter(f.join('/'), t.join('/'))).toBe(model(f, t));
      }),
      { numRuns: 4000 },
    );
  });

  it('is what the model says where filter and topic share levels', () => {
    const pair = topic.chain(t =>
      fc
        .tuple(...t.map(one => fc.constantFrom(one, one, '+', 'a')))
        .chain(f => fc.constantFrom(f, [...f, '#'], [...f.slice(0, -1), '#'], f.slice(0, -1), [...f, 'a']))
        .filter(f => f.length > 0)
        .map(f => [f, t] as const),
    );
    fc.assert(
      fc.property(pair, ([f, t]) => {
        expect([f, t, matchFilter(f.join('/'), t.join('/'))]).toEqual([f, t, model(f, t)]);
      }),
      { numRuns: 4000 },
    );
  });

  it.each([
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['#', 'a/b', true],
    ['#', '$sys/x', false],
    ['+/x', '$sys/x', false],
    ['$sys/#', '$sys/x', true],
    ['a/+', 'a', false],
    ['+', 'a/b', false],
    ['+/+', 'a/b', true],
    ['a/+/c', 'a/b/c', true],
    ['a/+b', 'a/xb', false],
    ['a+', 'a+', true],
  ])('%s %s %s', (f, t, matches) => expect(matchFilter(f, t)).toBe(matches));
});

describe('a set of filters', () => {
  it('matches what one of them matches', () => {
    fc.assert(
      fc.property(fc.array(filter, { minLength: 1, maxLength: 6 }), topic, (filters, t) => {
        const texts = filters.map(f => f.join('/'));
        const set = filterSet(texts);
        expect(set.matches(t.join('/'))).toBe(filters.some(f => model(f, t)));
        expect(set.exact === null).toBe(texts.some(isWildcard));
      }),
      { numRuns: 5000 },
    );
  });

  it('has a key that tells sets apart, and no order', () => {
    fc.assert(
      fc.property(
        fc.array(filter, { minLength: 1, maxLength: 5 }),
        fc.array(filter, { minLength: 1, maxLength: 5 }),
        (a, b) => {
          const [one, two] = [a, b].map(list => list.map(f => f.join('/')));
          const same = JSON.stringify([...new Set(one)].sort()) === JSON.stringify([...new Set(two)].sort());
          expect(filterSet(one!).key === filterSet(two!).key).toBe(same);
          expect(filterSet([...one!, ...one!].reverse()).key).toBe(filterSet(one!).key);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function code(check: () => void): string {
  try {
    check();
    return 'fine';
  } catch (error) {
    if (!isTailraceError(error)) throw error;
    return error.code;
  }
}

describe('checks', () => {
  const badBoth = [
    '',
    '/',
    'a//b',
    '/a',
    'a/',
    '.',
    '..',
    'a/.',
    'a/../b',
    'a\0b',
    'a\nb',
    'a\u007fb',
    'a\u0085b',
    '\ud800',
    'a/\udc00/b',
    'x'.repeat(513),
    'ü'.repeat(257),
    '😀'.repeat(129),
    Array(33).fill('a').join('/'),
  ];
  const goodBoth = [
    'a',
    'a/b',
    '...',
    'a./.b',
    ' ',
    'ü/😀',
    'a+b',
    'a#',
    '#a/b',
    'x'.repeat(512),
    'ü'.repeat(256),
    '😀'.repeat(128),
    Array(32).fill('a').join('/'),
    '\u2028',
    '$x',
  ];
  it.each(badBoth)('refuse %j', text => {
    expect(code(() => checkTopic(text))).toBe('topic_invalid');
    expect(code(() => checkFilter(text))).toBe('filter_invalid');
  });
  it.each(goodBoth)('take %j', text => {
    expect(code(() => checkTopic(text))).toBe('fine');
    expect(code(() => checkFilter(text))).toBe('fine');
  });
  it.each(['+', '#', 'a/+', 'a/#', '+/+/#', '+/a'])('take %j as a filter only', text => {
    expect(code(() => checkFilter(text))).toBe('fine');
    expect(code(() => checkTopic(text))).toBe('topic_invalid');
    expect(isWildcard(text)).toBe(true);
  });
  it.each(['#/a', 'a/#/b', '#/#'])('refuse %j as a filter', text =>
    expect(code(() => checkFilter(text))).toBe('filter_invalid'),
  );

  it('agree with each other on random text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), text => {
        const topicCode = code(() => checkTopic(text));
        const levels = text.split('/');
        const fine =
          text.isWellFormed() &&
          // biome-ignore lint/suspicious/noControlCharactersInRegex: what topics must not have
          !/[\u0000-\u001f\u007f-\u009f]/.test(text) &&
          Buffer.byteLength(text) <= 512 &&
          levels.length <= 32 &&
          levels.every(one => one !== '' && one !== '.' && one !== '..' && one !== '+' && one !== '#');
        expect(topicCode).toBe(fine ? 'fine' : 'topic_invalid');
        if (fine) expect(code(() => checkFilter(text))).toBe('fine');
      }),
      { numRuns: 5000 },
    );
  });

  it("know what is the server's", () => {
    expect(['$sys', '$', '$a/b', 'a', 'a/$b'].map(isReserved)).toEqual([true, true, true, false, false]);
  });
});
