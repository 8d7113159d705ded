import type { Intake } from '../../intake.ts';
import { type DedupeOptions, logDefaults } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import type { DiskLogOptions } from '../disk-log-options.ts';
import type { Gate } from '../read/gate.ts';
import { FrameReader } from '../segment/frame-reader.ts';
import { decodeRecord, recordIsRemembered } from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';
import type { DedupeCheckpoints } from './dedupe-checkpoints.ts';

/** Bytes of log that a start reads at most to find ids and producers again. */
const scanBytes = 256 * 1024 * 1024;

/**
 * Fills the windows of de-duplication from the newest checkpoint and the segments behind it, without one from the newest
 * segments; and the ended topics from all indexes.
 */
export async function remember(
  segments: readonly Segment[],
  gate: Gate,
  intake: Intake,
  checkpoints: DedupeCheckpoints,
  options: DiskLogOptions,
  report: (report: LogReport) => void,
): Promise<void> {
  for (const segment of segments) for (const [topic, offset] of segment.index.ended) intake.ended.add(topic, offset);
  if (intake.ended.cutShort > 0)
    report({
      level: 'warn',
      kind: 'ended_topics_cut_short',
      message: `${intake.ended.cutShort} ended topics can be published to again: more than ${intake.ended.limit} have ended`,
    });
  const known = await checkpoints.restore(segments);
  const window = known === 0 ? rememberedFrom(segments, options.dedupe) : 0;
  let bytes = 0;
  let first = segments.length;
  while (first > window) {
    const segment = segments[first - 1]!;
    if (segment.lastOffset <= known) break;
    if (segment.remembered > 0) {
      if (bytes > 0 && bytes + segment.end > scanBytes) {
        report({
          level: 'warn',
          kind: 'dedupe_cut_short',
          message: `repeated publishes are recognised from offset ${segments[first]!.firstOffset} on: ${scanBytes} bytes of log are read at a start`,
        });
        break;
      }
      bytes += segment.end;
    }
    first--;
  }
  const read = segments.slice(first).filter(({ remembered }) => remembered > 0);
  if (known === 0 && read.length > 1)
    report({
      level: 'info',
      kind: 'dedupe_checkpoint',
      message: `there is no checkpoint of what was published: ${bytes} bytes of log from offset ${read[0]!.firstOffset} on are read instead`,
      bytes,
    });
  for (const segment of read) {
    checkpoints.behind(segment);
    const frames = new FrameReader(segment, gate, segment.header.framesAt);
    while (await frames.next()) {
      frames.walk(at => {
        if (recordIsRemembered(frames.buffer, at)) {
          const record = decodeRecord(frames.buffer, at, segment.firstOffset);
          intake.dedupe.add(record, record.offset, record.time);
        }
        return true;
      });
      intake.dedupe.commit(frames.header.last);
    }
  }
}

/** Index of the first segment whose ids and producers are in the windows of de-duplication. */
export function rememberedFrom(segments: readonly Segment[], dedupe: DedupeOptions = {}): number {
  const wanted = dedupe.ids ?? logDefaults.dedupe.ids;
  const ageMs = dedupe.ageMs ?? logDefaults.dedupe.ageMs;
  const newest = segments[segments.length - 1]?.lastTime ?? 0;
  let ids = Math.min(
    wanted,
    segments.reduce((sum, segment) => sum + segment.ids, 0),
  );
  // how far back the newest of each producer lies is not known: as many records as there would be ids
  let records = wanted;
  let first = segments.length;
  for (; first > 0; first--) {
    const segment = segments[first - 1]!;
    if (ids <= 0 && records <= 0 && newest - segment.lastTime >= ageMs) break;
    ids -= segment.ids;
    records -= segment.remembered;
  }
  return first;
}
