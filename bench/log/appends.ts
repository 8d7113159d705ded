// Writers in one process that each wait for the ack of a record before they append the next.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { Histogram, type Quantiles } from '../histogram.ts';
import { makePayload } from '../load/payload.ts';
import { sleep } from '../wait.ts';
import { openStore, type StoreName } from './stores/store.ts';
import { topicOf } from './topics.ts';

export interface AppendsJob {
  store: StoreName;
  /** May hold records already. */
  directory: string;
  writers: number;
  /** Topics that the writers take turns with. */
  topics: number;
  warmUpMs: number;
  windowMs: number;
}

export interface AppendsResult {
  appendsPerSecond: number;
  ack: Quantiles;
  delay: LoopDelay;
  cpu: CpuShares;
}

export async function appends({ store: name, directory, ...job }: AppendsJob): Promise<AppendsResult> {
  const store = await openStore(name, directory);
  const before = store.count();
  const topics = Array.from({ length: job.topics }, (_, number) => topicOf(number));
  const data = makePayload();
  const acks = new Histogram();
  let acked = 0;
  let measuring = false;
  let stopped = false;
  const write = async (writer: number): Promise<void> => {
    for (let at = writer % topics.length; !stopped; at = (at + job.writers) % topics.length) {
      const began = performance.now();
      await store.append(topics[at]!, data);
      acked++;
      if (measuring) acks.record((performance.now() - began) * 1000);
    }
  };
  const writers = Promise.all(Array.from({ length: job.writers }, (_, writer) => write(writer)));
  await Promise.race([writers, sleep(job.warmUpMs)]);

  const meter = new CpuMeter([]);
  const delay = new LoopDelay();
  const began = { at: performance.now(), acked };
  measuring = true;
  await Promise.race([writers, sleep(job.windowMs)]);
  measuring = false;
  const appendsPerSecond = ((acked - began.acked) * 1000) / (performance.now() - began.at);
  delay.stop();
  const cpu = meter.readAlone();

  stopped = true;
  await writers;
  await store.close();
  const again = await openStore(name, directory);
  const kept = again.count() - before;
  await again.close();
  if (kept !== acked) throw new Error(`${name} keeps ${kept} records of ${acked} that it acknowledged`);
  return { appendsPerSecond, ack: acks.quantiles(), delay, cpu };
}

/** How late the event loop was, in ms. */
export class LoopDelay {
  p99: number = Number.NaN;
  max: number = Number.NaN;
  readonly #histogram = monitorEventLoopDelay({ resolution: 1 });

  constructor() {
    this.#histogram.enable();
  }

  stop(): void {
    this.#histogram.disable();
    // the millisecond between two looks is in what it counts
    this.p99 = Math.max(0, this.#histogram.percentile(99) / 1e6 - 1);
    this.max = Math.max(0, this.#histogram.max / 1e6 - 1);
  }
}
