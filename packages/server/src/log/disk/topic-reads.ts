import type { FilterSet } from '@tailrace/protocol';
import type { HotTail } from '../hot-tail.ts';
import type { TopicInfo } from '../log.ts';
import type { LogRecord } from '../record.ts';
import { readRecordsAt } from './frame-reader.ts';
import type { Gate } from './gate.ts';
import { firstAtLeast } from './reader.ts';
import type { Segment } from './segment.ts';
import type { SegmentList } from './segment-list.ts';

/** Topics of all segments in order, each with its newest record; see `Log.topics`. */
export async function topicsOf(
  segments: SegmentList,
  prefix: string,
  after: string,
  limit: number,
): Promise<readonly TopicInfo[]> {
  const found = new Map<string, TopicInfo>();
  // newest first: what a newer segment says of a topic stands
  for (const segment of [...segments.all].reverse()) {
    for (const { topic, lastOffset, lastTime } of await segment.index.topics(prefix, after, limit))
      if (!found.has(topic)) found.set(topic, { topic, lastOffset, lastTime });
    if (found.size > limit * 4) keepFirst(found, limit);
  }
  keepFirst(found, limit);
  return [...found.values()];
}

function keepFirst(found: Map<string, TopicInfo>, limit: number): void {
  const names = [...found.keys()].sort((a, b) => (a < b ? -1 : 1)).slice(0, limit);
  const infos = names.map(name => found.get(name)!);
  found.clear();
  for (const info of infos) found.set(info.topic, info);
}

/** The newest `count` records of each matching topic with offset ≤ `to`, in offset order; see `Log.last`. */
export async function newestOfTopics(
  segments: SegmentList,
  gate: Gate,
  hot: HotTail,
  filters: FilterSet,
  count: number,
  to: number,
): Promise<readonly LogRecord[]> {
  const found = new Map<string, LogRecord[]>();
  const result: LogRecord[] = [];
  for (const topic of filters.exact ?? hot.topics()) {
    if (filters.exact === null && !filters.matches(topic)) continue;
    const records: LogRecord[] = [];
    hot.newest(topic, count, to, records);
    found.set(topic, records);
  }
  const base = hot.base;
  for (const segment of [...segments.all].reverse()) {
    if (segment.firstOffset > to || segment.firstOffset > base) continue;
    const below = Math.min(to, base);
    for (const topic of filters.exact ?? (await matchingTopics(segment, filters))) {
      const records = found.get(topic) ?? [];
      found.set(topic, records);
      if (records.length >= count || !segment.index.mayHold(topic)) continue;
      const older = await newestInSegment(segment, gate, topic, count - records.length, below);
      records.unshift(...older);
    }
  }
  for (const records of found.values()) result.push(...records);
  return result.sort((a, b) => a.offset - b.offset);
}

async function matchingTopics(segment: Segment, filters: FilterSet): Promise<string[]> {
  const page = 1000;
  const matching: string[] = [];
  for (let after = ''; ; ) {
    const topics = await segment.index.topics('', after, page);
    for (const { topic } of topics) if (filters.matches(topic)) matching.push(topic);
    if (topics.length < page) return matching;
    after = topics[topics.length - 1]!.topic;
  }
}

async function newestInSegment(
  segment: Segment,
  gate: Gate,
  topic: string,
  count: number,
  to: number,
): Promise<LogRecord[]> {
  const positions = await segment.index.postings(topic);
  if (positions === undefined) return [];
  let end = positions.length;
  if (to < segment.lastOffset) end = firstAtLeast(positions, await segment.index.frameAt(to + 1));
  // records between that frame's beginning and `to` belong to it as well
  const records: LogRecord[] = [];
  for (; end < positions.length; end++) {
    const [record] = await readRecordsAt(segment, gate, [positions[end]!]);
    if (record!.offset > to) break;
  }
  const start = Math.max(0, end - count);
  records.push(...(await readRecordsAt(segment, gate, Array.from(positions.slice(start, end)))));
  return records;
}
