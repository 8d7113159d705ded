// Records of many topics, appended by the server's own engine in this process, while a node elsewhere follows the log for
// a few subscribers of one of the topics.
import { openPartitions } from '../../packages/server/src/engines/redis/open-partitions.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { message } from '../log/message.ts';
import { sleep } from '../wait.ts';
import { type Count, verify, type Window } from './fanout.ts';
import { makePayload } from './payload.ts';
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

/** How often records are appended, ms: a few calls of Redis each time. */
const every = 20;

export async function engineAppends(subscribers: Subscribers, job: EngineAppendsJob): Promise<EngineAppendsResult> {
  const log = await openPartitions({ url: job.url, name: 'tailrace', partitions: job.partitions });
  const payload = makePayload();
  const topics = [job.topic];
  for (let index = 1; index < job.topics; index++) topics.push(`iot/site-${index % 100}/device-${index}`);
  let next = 0;
  let appended = 0;
  const appendUntil = async (end: number): Promise<void> => {
    for (let due = performance.now(); due < end; due += every) {
      await sleep(due - performance.now());
      const messages = Array.from({ length: (job.rate * every) / 1000 }, () =>
        message(topics[next++ % topics.length]!, payload),
      );
      const results = await log.append(messages, 'written');
      if (results.some(result => 'error' in result)) throw new Error('Redis did not take all records');
      appended += results.length;
    }
  };
  try {
    subscribers.reset();
    await appendUntil(performance.now() + job.warmUpMs);
    const meter = new CpuMeter(job.serverPids);
    const began = { at: performance.now(), appended };
    await appendUntil(began.at + job.windowMs);
    const recordsPerSecond = ((appended - began.appended) * 1000) / (performance.now() - began.at);
    const cpu = meter.read();
    const each = Math.ceil(next / topics.length);
    await subscribers.drained(each);
    return { recordsPerSecond, count: verify(subscribers, each), cpu };
  } finally {
    await log.close();
  }
}
