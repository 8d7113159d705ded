// Readers far behind the head, over the server's own hub, whose outlets take everything at once; and a publisher beside.
import { filterSet } from '@tailrace/protocol';
import { sseEncoding } from '../../packages/server/src/gateway/sse-encoding.ts';
import type { Hub, Subscription } from '../../packages/server/src/hub/index.ts';
import { type Log, nothingDropped, openDiskLog } from '../../packages/server/src/log/index.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { Histogram, type Quantiles } from '../histogram.ts';
import { nobody, openHub, takesAll } from '../hub.ts';
import { makePayload } from '../load/payload.ts';
import { sleep, until } from '../wait.ts';
import { LoopDelay } from './appends.ts';
import { countingDisk, ReadCounts } from './disks.ts';
import { message } from './message.ts';

export interface CatchUpJob {
  directory: string;
  readers: number;
  /** One each, in turn. */
  filters: readonly string[];
  /** Share of the log over which the places where they begin are spread. */
  spread: number;
  /** Records appended a second, one by one. */
  appendsPerSecond: number;
  warmUpMs: number;
  /** Ends earlier when all have read everything. */
  windowMs: number;
}

export interface CatchUpResult {
  /** How far the slowest reader came, in bytes of log a second. */
  scannedPerSecond: number;
  /** Bytes read from files for each byte that the slowest came on. */
  readPerScanned: number;
  deliveriesPerSecond: number;
  ack: Quantiles;
  delay: LoopDelay;
  cpu: CpuShares;
}

export async function catchUp(job: CatchUpJob): Promise<CatchUpResult> {
  const counts = new ReadCounts();
  const log = await openDiskLog({ directory: job.directory, disk: countingDisk(counts) });
  const end = log.head.offset;
  const bytesOfRecord = log.status.bytes / end;
  const hub = openHub(log);
  const subscriptions = Array.from({ length: job.readers }, (_, reader) =>
    subscribe(hub, job.filters[reader % job.filters.length]!, Math.floor((reader * job.spread * end) / job.readers)),
  );
  const publisher = new PacedAppends(log, job.appendsPerSecond);
  await sleep(job.warmUpMs);

  const meter = new CpuMeter([]);
  const delay = new LoopDelay();
  const began = { at: performance.now(), read: counts.all, records: hub.deliveries.records };
  const places = subscriptions.map(({ offset }) => offset);
  publisher.acks = new Histogram();
  await until(() => job.readers > 0 && subscriptions.every(({ offset }) => offset >= end), job.windowMs);
  const seconds = (performance.now() - began.at) / 1000;
  const advances = subscriptions.map(({ offset }, reader) => Math.min(offset, end) - places[reader]!);
  const scanned = Math.min(...advances) * bytesOfRecord;
  const ack = publisher.acks.quantiles();
  delay.stop();
  const cpu = meter.readAlone();
  const readPerScanned = (counts.all - began.read) / scanned;
  const deliveriesPerSecond = (hub.deliveries.records - began.records) / seconds;

  await publisher.stop();
  for (const session of [...hub.sessions.values()]) hub.closeSession(session);
  hub.close();
  await log.close();
  return { scannedPerSecond: scanned / seconds, readPerScanned, deliveriesPerSecond, ack, delay, cpu };
}

/** Appends at a steady rate, as far as the event loop lets it, and takes the time from each append to its ack. */
class PacedAppends {
  acks = new Histogram();
  readonly #log: Log;
  readonly #rate: number;
  readonly #data = makePayload();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #began = performance.now();
  readonly #waiting = new Set<Promise<void>>();
  #sent = 0;
  #failure: unknown;

  constructor(log: Log, rate: number) {
    this.#log = log;
    this.#rate = rate;
    this.#timer = rate === 0 ? undefined : setInterval(() => this.#appendDue(), 1);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#waiting);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #appendDue(): void {
    const due = Math.floor(((performance.now() - this.#began) * this.#rate) / 1000);
    for (; this.#sent < due; this.#sent++) {
      const appended = this.#append().finally(() => this.#waiting.delete(appended));
      this.#waiting.add(appended);
    }
  }

  async #append(): Promise<void> {
    const began = performance.now();
    try {
      await this.#log.append([message('live/beside', this.#data)], 'fsync');
    } catch (error) {
      this.#failure = error;
    }
    this.acks.record((performance.now() - began) * 1000);
  }
}

function subscribe(hub: Hub, filter: string, offset: number): Subscription {
  const session = hub.openSession('bench', takesAll, sseEncoding(false, hub.tokens), nobody);
  const start = {
    at: { offset, time: 0 },
    recovered: true,
    jump: undefined,
    told: nothingDropped,
    snapshot: undefined,
    now: false,
  };
  return hub.subscribe(session, 's0', filterSet([filter]), start, () => undefined);
}
