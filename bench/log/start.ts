// How long a log takes to open, and what it then holds in memory.
import { openDiskLog } from '../../packages/server/src/log/index.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { makePayload } from '../load/payload.ts';
import { message } from './message.ts';
import { topicOf } from './topics.ts';

export interface LeaveTailJob {
  directory: string;
  records: number;
}

export interface StartJob {
  directory: string;
}

export interface StartResult {
  milliseconds: number;
  /** From the call that opens it to the ack of a first record. */
  firstAckMilliseconds: number;
  heapBytes: number;
  cpu: CpuShares;
}

/** Appends and does not close the log: whoever asked then kills this process. */
export async function leaveTail({ directory, records }: LeaveTailJob): Promise<void> {
  const log = await openDiskLog({ directory });
  const data = makePayload(1_000);
  for (let at = 0; at < records; at += 100)
    await log.append(
      Array.from({ length: 100 }, (_, i) => message(topicOf(at + i), data)),
      'fsync',
    );
}

export async function start({ directory }: StartJob): Promise<StartResult> {
  const before = await heldBytes();
  const meter = new CpuMeter([]);
  const began = performance.now();
  const log = await openDiskLog({ directory });
  const milliseconds = performance.now() - began;
  await log.append([message(topicOf(0), makePayload())], 'fsync');
  const firstAckMilliseconds = performance.now() - began;
  const cpu = meter.readAlone();
  const heapBytes = (await heldBytes()) - before;
  await log.close();
  return { milliseconds, firstAckMilliseconds, heapBytes, cpu };
}

/** On the heap and in buffers beside it, after a collection. */
async function heldBytes(): Promise<number> {
  globalThis.gc!();
  // the second round takes what the finalizers of the first set free
  await new Promise(resolve => setImmediate(resolve));
  globalThis.gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
