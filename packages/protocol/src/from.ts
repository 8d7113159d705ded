import { TailraceError } from './errors.ts';

/** Where a subscription without a cursor begins (§3). Times are ms since 1970 UTC. */
export type From =
  | { readonly at: 'now' }
  | { readonly at: 'earliest' }
  /**
   * The newest `count` records of each matching topic, then live; undefined for what is current: the newest record of
   * each key of a table, and of each other topic.
   */
  | { readonly at: 'last'; readonly count: number | undefined }
  | { readonly at: 'time'; readonly time: number }
  /** The first record read is the one with this offset. */
  | { readonly at: 'offset'; readonly offset: number };

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const rfc3339 = /^(\d{4}-\d\d-\d\d)[Tt](?!24)\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** Most records of one topic that `last:N` may ask for. */
export const lastMaxCount = 1000;

/**
 * Reads a `from` value, or that of another parameter that takes the same; `now` (ms) is what `-5m` counts back from.
 * Throws `cursor_invalid`, which names the parameter.
 */
export function parseFrom(text: string, now: number, parameter = 'from'): From {
  if (text === 'now') return { at: 'now' };
  if (text === 'earliest') return { at: 'earliest' };
  if (text === 'last') return { at: 'last', count: undefined };
  const last = /^last:(\d{1,6})$/.exec(text);
  if (last !== null) {
    const count = Number(last[1]);
    if (count >= 1 && count <= lastMaxCount) return { at: 'last', count };
    throw invalid(parameter, text, `N of last:N is 1 to ${lastMaxCount}`);
  }
  const offset = /^@(\d{1,16})$/.exec(text);
  if (offset !== null) {
    const value = Number(offset[1]);
    if (Number.isSafeInteger(value)) return { at: 'offset', offset: value };
    throw invalid(parameter, text, 'the offset is beyond 2^53');
  }
  const ago = /^-(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  if (ago !== null) return { at: 'time', time: Math.max(0, now - Number(ago[1]) * units[ago[2]!]!) };
  const date = rfc3339.exec(text)?.[1];
  if (date !== undefined) {
    if (!isDate(date)) throw invalid(parameter, text, `there is no ${date} in the calendar`);
    const time = Date.parse(text);
    if (!Number.isNaN(time)) return { at: 'time', time: Math.max(0, time) };
  }
  throw invalid(parameter, text, 'it takes now, earliest, last, last:N, an RFC 3339 time, -5m or @<offset>');
}

/** Date.parse alone takes February 30 for March 2. */
function isDate(date: string): boolean {
  const midnight = new Date(`${date}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(date);
}

function invalid(parameter: string, text: string, why: string): TailraceError {
  return new TailraceError('cursor_invalid', `${parameter}=${JSON.stringify(text.slice(0, 80))}: ${why}`, {
    at: { field: parameter },
  });
}
