// Publishes until so many deliveries have been counted, then looks at each subscriber: every acknowledged message,
// once, and to all in the same order.
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { until } from '../wait.ts';
import { type Count, probe } from './fanout.ts';
import { Publisher, type PublishTarget } from './publisher.ts';
import { Sequence } from './sequence.ts';
import type { Subscribers } from './subscribers.ts';

export interface LongRunJob {
  target: PublishTarget;
  serverPids: number[];
  /** Publishes in flight, one connection each. */
  inFlight: number;
  /** The run ends when this many have been counted. */
  deliveries: number;
  /** Milliseconds in which they must come. */
  withinMs: number;
}

export interface LongRunResult {
  /** From the first publish until `deliveries` were counted. */
  seconds: number;
  deliveriesPerSecond: number;
  messages: number;
  refused: number;
  lost: number;
  count: Count;
  cpu: CpuShares;
}

export async function longRun(subscribers: Subscribers, job: LongRunJob): Promise<LongRunResult> {
  const publisher = await Publisher.open(job.target, { connections: job.inFlight, depth: 1 });
  try {
    await probe(subscribers, publisher);
    // the middle one: neither served first nor last
    const witness = subscribers.all[subscribers.all.length >> 1]!;
    for (const subscriber of subscribers.all) subscriber.sequence = new Sequence(subscriber === witness);
    publisher.ackedStamps = [];

    const meter = new CpuMeter(job.serverPids);
    const began = performance.now();
    publisher.start(1);
    const arrived = await until(
      () => subscribers.deliveries() >= job.deliveries || publisher.failure !== undefined || subscribers.lost > 0,
      job.withinMs,
    );
    const counted = subscribers.deliveries();
    const seconds = (performance.now() - began) / 1000;
    const cpu = meter.read();

    await publisher.stop();
    await subscribers.drained(publisher.acked);
    const count = compare(subscribers, witness.sequence!, publisher.ackedStamps);
    if (!arrived || counted < job.deliveries) {
      const why = subscribers.failure ?? `no more within ${job.withinMs / 1000} s`;
      throw new Error(
        `${counted} of ${job.deliveries} deliveries after ${seconds.toFixed(1)} s: ${why}; ` +
          `then ${count.counted} of ${count.expected}, wrong at ${count.wrong} subscribers`,
      );
    }
    return {
      seconds,
      deliveriesPerSecond: counted / seconds,
      messages: publisher.acked,
      refused: publisher.refused,
      lost: subscribers.lost,
      count,
      cpu,
    };
  } finally {
    publisher.close();
  }
}

/** The witness must have exactly the acknowledged messages, and everybody what the witness has, in its order. */
function compare(subscribers: Subscribers, witness: Sequence, acked: readonly number[]): Count {
  const got = Float64Array.from(witness.stamps ?? []).sort();
  const sent = Float64Array.from(acked).sort();
  const right = got.length === sent.length && got.every((stamp, index) => stamp === sent[index]);
  return {
    expected: acked.length * subscribers.all.length,
    counted: subscribers.deliveries(),
    wrong: subscribers.all.filter(
      ({ deliveries, sequence }) =>
        !right || deliveries !== acked.length || sequence?.sum !== witness.sum || sequence.hash !== witness.hash,
    ).length,
  };
}
