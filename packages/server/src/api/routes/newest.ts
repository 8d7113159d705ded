import type { FilterSet } from '@tailrace/protocol';
import type { Log, LogRecord } from '../../log/index.ts';

/** Weight of records collected for one page: a page of huge messages has fewer. */
const pageBytes = 8 * 1024 * 1024;
const sliceBytes = 1024 * 1024;
const firstWindow = 1024;

/**
 * The newest `limit` matching records of (`from`, `to`], newest first. A log is read forwards, so this looks into ever
 * larger windows from the end; each part of the log is read once.
 *
 *     from                                                to
 *      │        │  window 3           │ window 2  │ w. 1  │
 */
export async function newestFirst(
  log: Log,
  filters: FilterSet,
  from: number,
  to: number,
  limit: number,
  stopped: () => boolean,
): Promise<{ records: LogRecord[]; more: boolean }> {
  const records: LogRecord[] = [];
  let weight = 0;
  let end = to;
  for (let size = Math.max(firstWindow, limit); end > from && !stopped(); size *= 4) {
    const begin = log.places.stepBack(from, end, size);
    if (begin >= end) break;
    const window = await readWindow(log, filters, begin, end, limit + 1 - records.length, pageBytes - weight);
    for (let i = window.length - 1; i >= 0; i--) {
      const record = window[i]!;
      // the one more that shows there is more
      if (records.length === limit || (weight >= pageBytes && records.length > 0)) return { records, more: true };
      records.push(record);
      weight += record.weight;
    }
    end = begin;
  }
  return { records, more: false };
}

/** The newest `count` matches of a window, oldest first, or fewer when they are heavier than `bytes`. */
async function readWindow(
  log: Log,
  filters: FilterSet,
  begin: number,
  end: number,
  count: number,
  bytes: number,
): Promise<LogRecord[]> {
  const kept: LogRecord[] = [];
  let first = 0;
  let weight = 0;
  for (let at = begin; at < end; ) {
    const slice = await readSlice(log, filters, at, end);
    for (const record of slice.records) {
      kept.push(record);
      weight += record.weight;
      // two stay whatever they weigh: one to show, one to know of
      while (kept.length - first > count || (weight > bytes && kept.length - first > 2)) {
        weight -= kept[first]!.weight;
        kept[first++] = undefined as never;
      }
    }
    at = slice.next;
  }
  return kept.slice(first);
}

async function readSlice(
  log: Log,
  filters: FilterSet,
  after: number,
  to: number,
): Promise<{ records: readonly LogRecord[]; next: number }> {
  if (after < log.hot.base) return await log.read(after, to, filters, sliceBytes);
  const records: LogRecord[] = [];
  return { next: log.hot.read(after, to, filters, sliceBytes, records), records };
}
