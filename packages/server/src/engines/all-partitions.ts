import type { Log } from '../log/log.ts';
import { type CommonLogOptions, logDefaults, type RetentionOptions } from '../log/options.ts';
import { WovenLog } from '../log/woven/woven-log.ts';

/** What each partition may have of what belongs to the whole log: its memory, and what the log may hold. */
export function shareOf(
  { hotBytes = logDefaults.hotBytes, retention }: CommonLogOptions,
  partitions: number,
): { readonly hotBytes: number; readonly retention: RetentionOptions } {
  const bytes = retention?.bytes === undefined ? undefined : Math.ceil(retention.bytes / partitions);
  return { hotBytes: hotBytes / partitions, retention: { ...retention, bytes } };
}

/** Opens each partition, or none: when one of them rejects, so does this, once those that did open are closed. */
export async function openEach<T extends Log>(
  count: number,
  open: (index: number) => Promise<T>,
): Promise<readonly T[]> {
  const settled = await Promise.allSettled(Array.from({ length: count }, (_, index) => open(index)));
  const opened = settled.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = settled.find(one => one.status === 'rejected');
  if (failed === undefined) return opened;
  await Promise.all(opened.map(log => log.close()));
  throw failed.reason;
}

/** One log out of all its partitions. It closes them. */
export function joined(partitions: readonly Log[], { hotBytes }: CommonLogOptions): Log {
  return partitions.length === 1 ? partitions[0]! : new WovenLog(partitions, { hotBytes });
}
