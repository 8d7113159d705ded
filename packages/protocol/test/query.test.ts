import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkFilter, decodePath, isTailraceError, parseQuery, setAside, single, urlFilter } from '../src/index.ts';

function code(run: () => unknown): string {
  try {
    run();
    return 'fine';
  } catch (error) {
    if (!isTailraceError(error)) throw error;
    return error.code;
  }
}

describe('query strings', () => {
  it('are read as URLSearchParams wrote them', () => {
    const pairs = fc.array(
      fc.tuple(fc.constantFrom('filter', 'from', 'größe', 'a b'), fc.string({ unit: 'grapheme', maxLength: 12 })),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pairs, list => {
        const query = parseQuery(new URLSearchParams(list).toString(), ['filter', 'from', 'größe', 'a b']);
        const wanted = new Map<string, string[]>();
        for (const [name, value] of list) wanted.set(name, [...(wanted.get(name) ?? []), value]);
        expect(query).toEqual(wanted);
      }),
    );
  });

  it('give back what encodeURIComponent wrote', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        expect(single(parseQuery(`x=${encodeURIComponent(text)}`, ['x']), 'x')).toBe(text);
        expect(decodePath(encodeURIComponent(text))).toBe(text);
      }),
    );
  });

  it('refuse what they do not know, and name what is near', () => {
    expect(() => parseQuery('filtre=a', ['filter', 'from'])).toThrow(/did you mean "filter"/);
    expect(code(() => parseQuery('a=1', ['filter']))).toBe('unknown_field');
    expect(code(() => parseQuery('=1', ['filter']))).toBe('unknown_field');
    expect(code(() => parseQuery('__proto__=1', ['filter']))).toBe('fine');
    expect(code(() => parseQuery('constructor=1', ['filter']))).toBe('unknown_field');
    expect(parseQuery('_=1&_cache=2&&filter', ['filter'])).toEqual(new Map([['filter', ['']]]));
    for (const bad of ['filter=%', 'filter=%f', 'filter=%zz', 'filter=%ff', 'filter=%c3%28', 'filter=%ed%a0%80', '%=1'])
      expect([bad, code(() => parseQuery(bad, ['filter']))]).toEqual([bad, 'bad_request']);
    expect(code(() => single(parseQuery('a=1&a=2', ['a']), 'a'))).toBe('bad_request');
  });

  it('say so where nothing is known', () => {
    expect(() => parseQuery('zz=1', [])).toThrow(/^no query parameter "zz" here: this path takes none$/);
  });

  it('refuse what is set aside by its name, wherever the credentials would go', () => {
    for (const name of setAside.message)
      expect(() => parseQuery(`${name}=1`, ['id'], setAside.message)).toThrow(`"${name}" is kept for a later version`);
    expect(code(() => parseQuery('ttl=1', ['id'], setAside.message))).toBe('unsupported');
    expect(code(() => parseQuery('ttl=1', ['id']))).toBe('unknown_field');
    expect(code(() => parseQuery('to=1', ['to'], setAside.message))).toBe('fine');
    expect(code(() => parseQuery('token=x', []))).toBe('unsupported');
  });

  it('never fail otherwise', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 60 }),
        text => void code(() => parseQuery(text, ['a', 'filter'])),
      ),
    );
  });
});

describe('filters in URLs', () => {
  it('mean the same, however they were written', () => {
    const filter = fc
      .array(fc.constantFrom('+', 'a', 'a b', 'a+b', 'ü', '50%', 'x&y=z', '?'), { minLength: 1, maxLength: 5 })
      .chain(levels => fc.constantFrom(levels.join('/'), `${levels.join('/')}/#`));
    fc.assert(
      fc.property(filter, text => {
        checkFilter(text);
        const read = (encoded: string): string =>
          urlFilter(single(parseQuery(`filter=${encoded}`, ['filter']), 'filter')!);
        expect(read(encodeURIComponent(text))).toBe(text);
        expect(read(new URLSearchParams({ x: text }).toString().slice(2))).toBe(text);
        // a level that is exactly "+" may stand as it is; inside a level a bare "+" is a space, as in every query
        expect(
          read(
            text
              .split('/')
              .map(level => (level === '+' ? level : encodeURIComponent(level)))
              .join('/'),
          ),
        ).toBe(text);
      }),
    );
  });
});
