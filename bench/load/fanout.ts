// One topic, many subscribers: deliveries and acknowledgements in a window, then the exact count.
import { setImmediate } from 'node:timers/promises';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { Histogram, type Quantiles } from '../histogram.ts';
import { sleep } from '../wait.ts';
import { Publisher, type PublishTarget } from './publisher.ts';
import type { Subscribers } from './subscribers.ts';

export interface Window {
  warmUpMs: number;
  windowMs: number;
}

export interface FanoutJob extends Window {
  target: PublishTarget;
  serverPids: number[];
  /** Publishes in flight, one connection each. */
  inFlight: number;
  /** In flight until delivered, not until acknowledged: for a server that acks faster than it delivers, without end. */
  untilDelivered?: boolean | undefined;
  /** Bytes of each payload; else 130. */
  payloadLength?: number | undefined;
  /** Messages a second, offered whatever the answers do; 0: as fast as `inFlight` allows. */
  rate: number;
}

export interface Count {
  /** Acknowledged publishes × subscribers. */
  expected: number;
  counted: number;
  /** Subscribers whose own count was wrong. */
  wrong: number;
}

export interface FanoutResult {
  deliveriesPerSecond: number;
  publishesPerSecond: number;
  bytesPerDelivery: number;
  delivery: Quantiles;
  ack: Quantiles;
  refused: number;
  /** Streams that ended early. */
  lost: number;
  count: Count;
  cpu: CpuShares;
}

const probeWithin = 10_000;

export async function fanout(subscribers: Subscribers, job: FanoutJob): Promise<FanoutResult> {
  const { inFlight, payloadLength } = job;
  const publisher = await Publisher.open(job.target, { connections: inFlight, depth: 1, payloadLength });
  try {
    await probe(subscribers, publisher);
    const last = subscribers.all.at(-1);
    if (job.untilDelivered) publisher.delivered = () => last?.deliveries ?? 0;
    const meter = new CpuMeter(job.serverPids);
    let paced: Promise<void> | undefined;
    if (job.rate === 0) publisher.start(1);
    else paced = publisher.runPaced(job.rate, job.warmUpMs + job.windowMs);
    paced?.catch(() => undefined); // awaited below, after the window

    await sleep(job.warmUpMs);
    meter.start();
    await setImmediate(); // reads what came meanwhile: that it waited is no delivery time
    subscribers.samples.histogram = new Histogram();
    subscribers.samples.open = publisher.windowOpen = true;
    const began = { at: performance.now(), ...totals(subscribers, publisher) };

    await sleep(job.windowMs);
    const ended = { at: performance.now(), ...totals(subscribers, publisher) };
    const cpu = meter.read();
    subscribers.samples.open = publisher.windowOpen = false;

    await paced;
    await publisher.stop();
    await subscribers.drained(publisher.acked);
    const seconds = (ended.at - began.at) / 1000;
    return {
      deliveriesPerSecond: (ended.deliveries - began.deliveries) / seconds,
      publishesPerSecond: (ended.acked - began.acked) / seconds,
      bytesPerDelivery: (ended.bytes - began.bytes) / (ended.deliveries - began.deliveries),
      delivery: subscribers.samples.histogram.quantiles(),
      ack: publisher.ackTimes.quantiles(),
      refused: publisher.refused,
      lost: subscribers.lost,
      count: verify(subscribers, publisher.acked),
      cpu,
    };
  } finally {
    publisher.close();
  }
}

/** One message that every subscriber must get: proof that all streams stand, and that counting works on this server. */
export async function probe(subscribers: Subscribers, publisher: Publisher): Promise<void> {
  subscribers.reset();
  await publisher.publish(1);
  if (publisher.acked !== 1) throw new Error('the server refused the first message');
  await subscribers.drained(1, probeWithin);
  const { counted, expected } = verify(subscribers, 1);
  if (counted !== expected) {
    throw new Error(
      `${counted} of ${expected} subscribers got the first message: ${subscribers.failure ?? 'no error seen'}`,
    );
  }
  subscribers.reset();
  publisher.acked = 0;
}

export function verify(subscribers: Subscribers, each: number): Count {
  return {
    expected: each * subscribers.all.length,
    counted: subscribers.deliveries(),
    wrong: subscribers.all.filter(({ deliveries }) => deliveries !== each).length,
  };
}

function totals(subscribers: Subscribers, publisher: Publisher): { deliveries: number; bytes: number; acked: number } {
  return { deliveries: subscribers.deliveries(), bytes: subscribers.bytes(), acked: publisher.acked };
}
