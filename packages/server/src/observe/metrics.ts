import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Histogram, Registry } from 'prom-client';
import { type LoopDelay, processReadings } from './process-readings.ts';
import { PublishCounts } from './publish-counts.ts';
import { register } from './reading.ts';
import { roomReadings, type WatchedRooms } from './rooms.ts';

/** Everything that `/metrics` tells. */
export class Metrics {
  /** Fed by the API, one count a message. */
  readonly publishes: PublishCounts = new PublishCounts();
  readonly #registry = new Registry();
  readonly #commitSeconds: Histogram;
  readonly #commitRecords: Histogram;
  readonly #commitBytes: Histogram;
  readonly #roundTrip: Histogram;
  readonly #jitter: Histogram;
  readonly #loop: LoopDelay = monitorEventLoopDelay({ resolution: 20 });

  constructor() {
    const registers = [this.#registry];
    this.#commitSeconds = new Histogram({
      name: 'tailrace_commit_seconds',
      help: 'From the first append of a batch to its commit.',
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    });
    this.#commitRecords = new Histogram({
      name: 'tailrace_commit_records',
      help: 'Records of one commit.',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384],
      registers,
    });
    this.#commitBytes = new Histogram({
      name: 'tailrace_commit_bytes',
      help: 'Bytes of one commit.',
      buckets: [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576],
      registers,
    });
    const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 25];
    this.#roundTrip = new Histogram({
      name: 'tailrace_round_trip_seconds',
      help: 'From a WebSocket ping to its pong.',
      buckets,
      registers,
    });
    this.#jitter = new Histogram({
      name: 'tailrace_round_trip_jitter_seconds',
      help: 'Difference between a round trip and the one before on the same connection.',
      buckets,
      registers,
    });
    register(this.#registry, {
      name: 'tailrace_publishes_total',
      help: 'Messages handed in for publishing, by what became of them: appended, duplicate, live (durability none), spooled, or the error code.',
      type: 'counter',
      label: 'result',
      read: () => {
        const { appended, duplicates, live, spooled, failed } = this.publishes;
        return [['appended', appended], ['duplicate', duplicates], ['live', live], ['spooled', spooled], ...failed];
      },
    });
    for (const reading of processReadings(this.#loop)) register(this.#registry, reading);
    this.#loop.enable();
  }

  /** For the log's `onCommitStats`: ms from the first append of a batch to its commit. */
  readonly onCommit = (durationMs: number, records: number, bytes: number): void => {
    this.#commitSeconds.observe(durationMs / 1000);
    this.#commitRecords.observe(records);
    this.#commitBytes.observe(bytes);
  };

  /** For the gateway's `onRoundTrip`. */
  readonly onRoundTrip = (ms: number, jitterMs: number): void => {
    this.#roundTrip.observe(ms / 1000);
    this.#jitter.observe(jitterMs / 1000);
  };

  /** Shows the numbers of these rooms from now on; once. */
  watch(rooms: WatchedRooms): void {
    for (const reading of roomReadings(rooms)) register(this.#registry, reading);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The page in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  close(): void {
    this.#loop.disable();
  }
}

export function createMetrics(): Metrics {
  return new Metrics();
}
