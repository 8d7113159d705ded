import type { FilterSet } from '@tailrace/protocol';
import type { HotTail } from '../../hot-tail.ts';
import type { TopicInfo } from '../../log.ts';
import { firstAtLeast, type IndexedTopic } from '../index/segment-index.ts';
import { readRecordsAt } from '../segment/frame-reader.ts';
import type { Segment } from '../segment/segment.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import type { Gate } from './gate.ts';

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

/** Offsets of the newest `count` records with offset ≤ `to` of each matching topic, ascending. */
export async function newestOfTopics(
  segments: SegmentList,
  gate: Gate,
  hot: HotTail,
  filters: FilterSet,
  count: number,
  to: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const found = new Map<string, number[]>();
  for (const topic of filters.exact ?? hot.topics())
    if (filters.exact !== null || filters.matches(topic)) found.set(topic, hot.newest(topic, count, to));
  const below = Math.min(to, hot.base);
  // newest first: an older segment is asked only for what the newer ones do not have
  for (const segment of [...segments.all].reverse()) {
    if (segment.firstOffset > below) continue;
    for await (const topics of matchingTopics(segment, filters)) {
      for (const { topic, lastOffset } of topics) {
        const offsets = found.get(topic) ?? [];
        if (offsets.length >= count) continue;
        const older =
          count === 1 && lastOffset <= below
            ? [lastOffset]
            : await newestInSegment(segment, gate, topic, count - offsets.length, below);
        found.set(topic, [...older, ...offsets]);
      }
    }
  }
  return found;
}

/** The topics of a segment that match, page by page. */
async function* matchingTopics(segment: Segment, filters: FilterSet): AsyncGenerator<readonly IndexedTopic[]> {
  const page = 1000;
  if (filters.exact !== null) {
    for (const topic of filters.exact) {
      if (!segment.index.mayHold(topic)) continue;
      const [first] = await segment.index.topics(topic, '', 1);
      if (first?.topic === topic) yield [first];
    }
    return;
  }
  for (let after = ''; ; ) {
    const topics = await segment.index.topics('', after, page);
    yield topics.filter(({ topic }) => filters.matches(topic));
    if (topics.length < page) return;
    after = topics[topics.length - 1]!.topic;
  }
}

/** Offsets of the newest `count` records of the topic with offset ≤ `to`, ascending. */
async function newestInSegment(
  segment: Segment,
  gate: Gate,
  topic: string,
  count: number,
  to: number,
): Promise<number[]> {
  const positions = await segment.index.postings(topic);
  if (positions === undefined) return [];
  let end = positions.length;
  if (to < segment.lastOffset) end = firstAtLeast(positions, await segment.index.frameAt(to + 1));
  // records between that frame's beginning and `to` belong to it as well
  for (; end < positions.length; end++) {
    const [record] = await readRecordsAt(segment, gate, [positions[end]!]);
    if (record!.offset > to) break;
  }
  const offsets: number[] = [];
  // not all at once: they may be large
  for (let start = Math.max(0, end - count); start < end; start += 64) {
    const some = Array.from(positions.slice(start, Math.min(start + 64, end)));
    for (const { offset } of await readRecordsAt(segment, gate, some)) offsets.push(offset);
  }
  return offsets;
}
