// New connections beside a running fan-out: each connects, asks for a stream, gets its response head, and is gone.
import { connect } from 'node:net';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { sleep } from '../wait.ts';
import { readTarget, readText } from './counting.ts';
import { type Count, probe, verify, type Window } from './fanout.ts';
import { Publisher, type PublishTarget } from './publisher.ts';
import type { Subscribers } from './subscribers.ts';

export interface AcceptsJob extends Window {
  target: PublishTarget;
  serverPids: number[];
  /** Request head of each new connection. */
  request: string;
  /** New connections under way at once. */
  atOnce: number;
}

export interface AcceptsResult {
  acceptsPerSecond: number;
  deliveriesPerSecond: number;
  count: Count;
  lost: number;
  refused: number;
  cpu: CpuShares;
}

// Latency of the fan-out is not asked for here, so its streams are read seldom: that leaves the core to the connects.
const readEveryMs = 100;

export async function accepts(subscribers: Subscribers, job: AcceptsJob): Promise<AcceptsResult> {
  const publisher = await Publisher.open(job.target, { connections: 1, depth: 1 });
  const churn = new Churn(job);
  try {
    await probe(subscribers, publisher);
    const meter = new CpuMeter(job.serverPids);
    subscribers.readEvery(readEveryMs);
    publisher.start(1);
    churn.start();

    await sleep(job.warmUpMs);
    meter.start();
    const began = { at: performance.now(), accepted: churn.accepted, deliveries: subscribers.deliveries() };
    await sleep(job.windowMs);
    const ended = { at: performance.now(), accepted: churn.accepted, deliveries: subscribers.deliveries() };
    const cpu = meter.read();

    churn.stop();
    await publisher.stop();
    subscribers.readEvery(0);
    await subscribers.drained(publisher.acked);
    if (churn.failure !== undefined) throw new Error(`a new connection failed: ${churn.failure}`);
    const seconds = (ended.at - began.at) / 1000;
    return {
      acceptsPerSecond: (ended.accepted - began.accepted) / seconds,
      deliveriesPerSecond: (ended.deliveries - began.deliveries) / seconds,
      count: verify(subscribers, publisher.acked),
      lost: subscribers.lost,
      refused: publisher.refused,
      cpu,
    };
  } finally {
    churn.stop();
    publisher.close();
  }
}

class Churn {
  accepted = 0;
  failure: string | undefined;
  readonly #job: AcceptsJob;
  #running = false;

  constructor(job: AcceptsJob) {
    this.#job = job;
  }

  start(): void {
    this.#running = true;
    for (let index = 0; index < this.#job.atOnce; index++) this.#next();
  }

  stop(): void {
    this.#running = false;
  }

  #next(): void {
    if (!this.#running) return;
    const callback = (length: number): boolean => {
      const start = readText(Math.min(length, 12));
      if (start !== 'HTTP/1.1 200') this.failure ??= `answered ${start}`;
      this.accepted++;
      socket.resetAndDestroy();
      this.#next();
      return true;
    };
    const socket = connect({
      port: this.#job.target.port,
      host: '127.0.0.1',
      onread: { buffer: readTarget, callback },
    });
    socket.on('error', error => {
      this.failure ??= error.message;
    });
    socket.write(this.#job.request);
  }
}
