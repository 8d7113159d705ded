// The load process: does one operation after another for the benchmark that started it, pinned to its own core.
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { serve } from '../remote.ts';
import { sleep } from '../wait.ts';
import { type AcceptsJob, type AcceptsResult, accepts } from './accepts.ts';
import { expectPayloads } from './counting.ts';
import type { EngineAppendsJob, EngineAppendsResult } from './engine-appends.ts';
import { type FanoutJob, type FanoutResult, fanout, type Window } from './fanout.ts';
import {
  type NdjsonJob,
  type NdjsonResult,
  ndjson,
  type PipelineJob,
  type PipelineResult,
  pipeline,
} from './ingest.ts';
import { type LongRunJob, type LongRunResult, longRun } from './long-run.ts';
import type { LookupJob, LookupResult } from './lookups.ts';
import { type BackfillJob, backfill, type ResumeJob, type ResumeResult, resume } from './resume.ts';
import type { Subscription } from './subscriber.ts';
import { Subscribers } from './subscribers.ts';

export interface OpenJob {
  port: number;
  subscriptions: Subscription[];
  count: number;
}

export interface ReceiveJob extends Window {
  /** Bytes of each payload. */
  payloadLength: number;
  serverPids: number[];
}

export interface ReceiveResult {
  deliveriesPerSecond: number;
  bytesPerDelivery: number;
  cpu: CpuShares;
}

/** What can be asked of the load process: name → job → result. */
export interface Operations {
  open(job: OpenJob): Promise<void>;
  close(job: null): Promise<void>;
  /** Opens streams that read their response head and then nothing more. */
  stall(job: OpenJob): Promise<void>;
  fanout(job: FanoutJob): Promise<FanoutResult>;
  accepts(job: AcceptsJob): Promise<AcceptsResult>;
  pipeline(job: PipelineJob): Promise<PipelineResult>;
  ndjson(job: NdjsonJob): Promise<NdjsonResult>;
  backfill(job: BackfillJob): Promise<void>;
  resume(job: ResumeJob): Promise<ResumeResult>;
  receive(job: ReceiveJob): Promise<ReceiveResult>;
  longRun(job: LongRunJob): Promise<LongRunResult>;
  lookups(job: LookupJob): Promise<LookupResult>;
  engineAppends(job: EngineAppendsJob): Promise<EngineAppendsResult>;
}

const subscribers = new Subscribers();
const stalled = new Subscribers();

const operations: Operations = {
  open: job => subscribers.open(job.port, job.subscriptions, job.count),
  close: async () => subscribers.close(),
  stall: async job => {
    await stalled.open(job.port, job.subscriptions, job.count);
    stalled.stall();
  },
  fanout: job => fanout(subscribers, job),
  accepts: job => accepts(subscribers, job),
  pipeline,
  ndjson,
  backfill,
  resume: job => resume(subscribers, job),
  receive,
  longRun: job => longRun(subscribers, job),
  // loaded only here: they bring the server's own code into this process
  lookups: async job => (await import('./lookups.ts')).lookups(job),
  engineAppends: async job => (await import('./engine-appends.ts')).engineAppends(subscribers, job),
};

/** Counts what the open streams bring by themselves. */
async function receive(job: ReceiveJob): Promise<ReceiveResult> {
  expectPayloads(job.payloadLength);
  await sleep(job.warmUpMs);
  const meter = new CpuMeter(job.serverPids);
  const began = { at: performance.now(), deliveries: subscribers.deliveries(), bytes: subscribers.bytes() };
  await sleep(job.windowMs);
  const deliveries = subscribers.deliveries() - began.deliveries;
  return {
    deliveriesPerSecond: (deliveries * 1000) / (performance.now() - began.at),
    bytesPerDelivery: (subscribers.bytes() - began.bytes) / deliveries,
    cpu: meter.read(),
  };
}

serve(operations);
