// Records of many topics, appended to the streams of Redis, while a server follows the log for a few subscribers of one of
// the topics.
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { sleep } from '../wait.ts';
import { type Count, verify, type Window } from './fanout.ts';
import { makePayload } from './payload.ts';
import { StreamWriter } from './stream-writer.ts';
import type { Subscribers } from './subscribers.ts';

export interface EngineAppendsJob extends Window {
  /** Of Redis. */
  url: string;
  partitions: number;
  /** Records a second, at most. */
  rate: number;
  /** The topic that is subscribed to, among so many. */
  topic: string;
  topics: number;
  serverPids: number[];
}

export interface EngineAppendsResult {
  recordsPerSecond: number;
  count: Count;
  cpu: CpuShares;
}

/** How often records are appended, ms: a call for each stream each time. */
const every = 20;

export async function engineAppends(subscribers: Subscribers, job: EngineAppendsJob): Promise<EngineAppendsResult> {
  const topics = [job.topic];
  for (let index = 1; index < job.topics; index++) topics.push(`iot/site-${index % 100}/device-${index}`);
  await using writer = await StreamWriter.open(job.url, job.partitions, topics, makePayload());
  let appended = 0;
  const appendUntil = async (end: number): Promise<void> => {
    for (let due = performance.now(); due < end; due += every) {
      await sleep(due - performance.now());
      const count = (job.rate * every) / 1000;
      await writer.append(appended, count);
      appended += count;
    }
  };
  subscribers.reset();
  await appendUntil(performance.now() + job.warmUpMs);
  const meter = new CpuMeter(job.serverPids);
  const began = { at: performance.now(), appended };
  await appendUntil(began.at + job.windowMs);
  const recordsPerSecond = ((appended - began.appended) * 1000) / (performance.now() - began.at);
  const cpu = meter.read();
  const each = Math.ceil(appended / topics.length);
  await subscribers.drained(each);
  return { recordsPerSecond, count: verify(subscribers, each), cpu };
}
