// One reader of one exact topic reads all of its records, which lie far apart.
import { filterSet } from '@tailrace/protocol';
import { openDiskLog } from '../../packages/server/src/log/index.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { countingDisk, ReadCounts } from './disks.ts';

export interface ResumeExactJob {
  directory: string;
  topic: string;
  /** How many it has. */
  records: number;
  windowMs: number;
}

export interface ResumeExactResult {
  firstMilliseconds: number;
  /** The median of those after the first. */
  milliseconds: number;
  /** Of the segments, and of their indexes, for each byte of the records. */
  logBytesPerByte: number;
  indexBytesPerByte: number;
  cpu: CpuShares;
}

/** What a reader who is behind asks for at once (hub/blocks.ts). */
const sliceBytes = 64 * 1024;

export async function resumeExact({ directory, topic, records, windowMs }: ResumeExactJob): Promise<ResumeExactResult> {
  const counts = new ReadCounts();
  const log = await openDiskLog({ directory, disk: countingDisk(counts) });
  const filters = filterSet([topic]);
  const resume = async (): Promise<{ milliseconds: number; bytes: number }> => {
    const began = performance.now();
    let found = 0;
    let bytes = 0;
    for (let at = 0; at < log.head.offset; ) {
      const slice = await log.read(at, log.head.offset, filters, sliceBytes);
      for (const record of slice.records) bytes += record.data.length + record.topic.length;
      found += slice.records.length;
      at = slice.next;
    }
    if (found !== records) throw new Error(`${found} records of ${records}`);
    return { milliseconds: performance.now() - began, bytes };
  };

  const first = await resume();
  const meter = new CpuMeter([]);
  const times: number[] = [];
  let bytes = 0;
  const before = { ...counts };
  for (const deadline = performance.now() + windowMs; times.length < 3 || performance.now() < deadline; ) {
    const again = await resume();
    times.push(again.milliseconds);
    bytes += again.bytes;
  }
  const cpu = meter.readAlone();
  await log.close();
  return {
    firstMilliseconds: first.milliseconds,
    milliseconds: Float64Array.from(times).sort()[times.length >> 1]!,
    logBytesPerByte: (counts.log - before.log) / bytes,
    indexBytesPerByte: (counts.index - before.index) / bytes,
    cpu,
  };
}
