/**
 * Finds the source text of values inside JSON that `JSON.parse` has already accepted. A payload is passed on verbatim:
 * parsing and printing it again would turn 12345678901234567890 into 12345678901234567000.
 */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The span of the value of the member `name` of the object that begins at `at`; the last one, as JSON.parse takes it. */
export function rawMember(text: string, at: number, name: string): Span | undefined {
  let found: Span | undefined;
  let i = skipSpace(text, skipSpace(text, at) + 1);
  while (text.charCodeAt(i) !== 0x7d) {
    const nameEnd = skipString(text, i);
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = skipValue(text, start);
    if (isName(text, i + 1, nameEnd - 1, name)) found = { start, end };
    i = skipSpace(text, end);
    if (text.charCodeAt(i) === 0x2c) i = skipSpace(text, i + 1);
  }
  return found;
}

/** The spans of the elements of the array that begins at `at`. */
export function rawElements(text: string, at: number): Span[] {
  const spans: Span[] = [];
  let i = skipSpace(text, skipSpace(text, at) + 1);
  while (text.charCodeAt(i) !== 0x5d) {
    const end = skipValue(text, i);
    spans.push({ start: i, end });
    i = skipSpace(text, end);
    if (text.charCodeAt(i) === 0x2c) i = skipSpace(text, i + 1);
  }
  return spans;
}

/** Whether the characters between the quotes, escapes resolved, are `name`. */
function isName(text: string, start: number, end: number, name: string): boolean {
  if (end - start === name.length) return text.startsWith(name, start);
  // an escape takes more characters than what it stands for
  if (end - start < name.length) return false;
  const raw = text.slice(start, end);
  return raw.includes('\\') && JSON.parse(`"${raw}"`) === name;
}

function skipSpace(text: string, at: number): number {
  let i = at;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c > 0x20) return i;
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return i;
    i++;
  }
}

function skipString(text: string, at: number): number {
  let i = at + 1;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) return i + 1;
    i += c === 0x5c ? 2 : 1;
  }
}

// counts brackets instead of recursing: a payload nested a million deep must not overflow the stack
function skipValue(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first === 0x22) return skipString(text, at);
  let i = at;
  if (first !== 0x7b && first !== 0x5b) {
    for (;;) {
      const c = text.charCodeAt(i);
      if (Number.isNaN(c) || c === 0x2c || c === 0x7d || c === 0x5d || c <= 0x20) return i;
      i++;
    }
  }
  let depth = 0;
  for (;;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) {
      i = skipString(text, i);
      continue;
    }
    if (c === 0x7b || c === 0x5b) depth++;
    else if ((c === 0x7d || c === 0x5d) && --depth === 0) return i + 1;
    i++;
  }
}
