// Many clients come back at once and get what they missed.
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { sleep, until } from '../wait.ts';
import { type Count, verify } from './fanout.ts';
import { Publisher, type PublishTarget } from './publisher.ts';
import type { Subscription } from './subscriber.ts';
import type { Subscribers } from './subscribers.ts';

export interface BackfillJob {
  target: PublishTarget;
  count: number;
  /** Bytes of each payload; else 130. */
  payloadLength?: number;
}

/** Publishes what is to be there before anybody reads, such as what the clients of `resume` will have missed. */
export async function backfill({ target, count, payloadLength }: BackfillJob): Promise<void> {
  const depth = 64;
  const publisher = await Publisher.open(target, { connections: 1, depth, payloadLength });
  try {
    await publisher.publish(count, depth);
    if (publisher.acked !== count) throw new Error(`${publisher.acked} of ${count} messages were taken`);
  } finally {
    publisher.close();
  }
}

export interface ResumeJob {
  port: number;
  serverPids: number[];
  subscription: Subscription;
  clients: number;
  /** Missed messages each. */
  messages: number;
  /** `each`: every client sends its request. `first`: one byte from the first client starts the writing to all. */
  starter: 'each' | 'first';
}

export interface ResumeResult {
  /** From the first request to the last delivery; the connections stand already. */
  milliseconds: number;
  bytes: number;
  count: Count;
  cpu: CpuShares;
  /** All that one client received until the last delivery, base64. */
  captured: string;
}

const servedWithin = 60_000;
/** Time for the server to see that the clients of the first round are gone. */
const goneWithin = 300;

/** Twice: the first round warms up the code on both sides, the second is the result. */
export async function resume(subscribers: Subscribers, job: ResumeJob): Promise<ResumeResult> {
  await resumeOnce(subscribers, job);
  subscribers.close();
  await sleep(goneWithin);
  return await resumeOnce(subscribers, job);
}

async function resumeOnce(subscribers: Subscribers, job: ResumeJob): Promise<ResumeResult> {
  await subscribers.connectOnly(job.port, job.subscription, job.clients);
  // the middle one: neither served first nor last
  const witness = subscribers.all[job.clients >> 1]!;
  witness.capture = [];

  const meter = new CpuMeter(job.serverPids);
  const began = performance.now();
  const last = lastDelivery(subscribers, job.messages);
  if (job.starter === 'first') subscribers.all[0]!.socket.write('.');
  else for (const subscriber of subscribers.all) subscriber.ask();
  const ended = await last;
  const cpu = meter.read();

  await subscribers.drained(job.messages, servedWithin, 300);
  return {
    milliseconds: ended - began,
    bytes: subscribers.bytes(),
    count: verify(subscribers, job.messages),
    cpu,
    captured: Buffer.concat(witness.capture).toString('base64'),
  };
}

/** When the last subscriber got its last delivery. */
async function lastDelivery(subscribers: Subscribers, each: number): Promise<number> {
  let behind = subscribers.all.length;
  let ended = Number.NaN;
  for (const subscriber of subscribers.all) {
    subscriber.goal = each;
    subscriber.onGoal = () => {
      if (--behind === 0) ended = performance.now();
    };
  }
  await until(() => behind === 0 || subscribers.failure !== undefined, servedWithin);
  if (behind === 0) return ended;
  const served = subscribers.all.length - behind;
  throw new Error(`${served} clients served: ${subscribers.failure ?? `no more within ${servedWithin} ms`}`);
}
