import type { Doomed } from '../compaction/doomed.ts';
import { discardDraft, type RewriteParts, rewriteSegment } from '../compaction/rewrite.ts';
import type { Segment } from '../segment/segment.ts';
import { stateOf } from './segment-state.ts';
import type { SweepHost } from './sweep-job.ts';

/** Rewrites a segment without what is doomed, and offers it to the log; returns the one that is there then. */
export async function replaceSegment(
  parts: RewriteParts,
  source: Segment,
  doomed: Doomed,
  host: Pick<SweepHost, 'install'>,
): Promise<Segment> {
  const { disk, reading } = parts;
  const rewritten = await rewriteSegment(parts, source, doomed);
  const { segment, temporary, temporaryIndex } = rewritten;
  const about = { source: source.name, segment: stateOf(segment), temporary, temporaryIndex, dropped: doomed.count };
  const installed = await host.install(about).catch(async error => {
    await discardDraft(disk, rewritten);
    throw error;
  });
  if (!installed) {
    await discardDraft(disk, rewritten);
    return source;
  }
  for (const file of [source.path, source.indexPath]) await source.files.forget(file);
  reading.cache.forget(`${source.name} `);
  return segment;
}
