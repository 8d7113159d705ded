import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type ErrorCode, errorTable, isTailraceError, TailraceError, toTailraceError } from '../src/index.ts';

const codes = Object.keys(errorTable) as ErrorCode[];
const page = readFileSync(fileURLToPath(new URL('../../../docs/errors.md', import.meta.url)), 'utf8');

describe('the table of errors', () => {
  test('has so many codes: a new one is added here, and none is ever renamed or removed', () => {
    expect(codes).toHaveLength(41);
  });

  test('docs/errors.md has every code, and no other', () => {
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(match => match[1]);
    expect(headings).toEqual(codes);
    for (const code of codes) expect(page).toContain(errorTable[code].help);
  });

  test.each(codes)('%s can be shown and acted upon', code => {
    const { status, title, retry, help } = errorTable[code];
    expect(code).toMatch(/^[a-z][a-z_]*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(title).toMatch(/^[A-Z].*[^.]$/);
    expect(help).toMatch(/\.$/);
    // what a server may mend by itself is worth another try; what the client did wrong is not
    if (status >= 500) expect(retry).toBe('later');
    if (status === 400) expect(retry).toBe('never');
    // a close code of a WebSocket is 4000 + status
    expect(4000 + status).toBeLessThan(5000);
  });

  test('a problem has the members of its row', () => {
    const problem = new TailraceError('overloaded', 'too much', { retryAfter: 250, at: { index: 3 } }).toProblem();
    expect(problem).toEqual({
      code: 'overloaded',
      title: errorTable.overloaded.title,
      status: 503,
      detail: 'too much',
      retry: 'later',
      retryAfter: 250,
      outcome: 'none',
      at: { index: 3 },
    });
  });

  test('errors are known by their brand, whatever copy of the class made them', () => {
    const foreign = Object.assign(new Error('x'), { [Symbol.for('tailrace.error')]: true });
    expect(isTailraceError(foreign)).toBe(true);
    expect(isTailraceError(new Error('x'))).toBe(false);
    const cause = new Error('disk on fire');
    const shown = toTailraceError(cause);
    expect(shown.code).toBe('internal');
    expect(shown.cause).toBe(cause);
    expect(shown.message).not.toContain('fire');
  });
});
