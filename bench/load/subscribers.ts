// The receiving side: all streams of a measurement, opened, counted, drained, closed.
import { until } from '../wait.ts';
import { LatencySamples } from './counting.ts';
import { Subscriber, type Subscription } from './subscriber.ts';

const connectsAtOnce = 128;
const connectWithin = 60_000;
const sampledSockets = 20;

export class Subscribers {
  readonly all: Subscriber[] = [];
  readonly samples: LatencySamples = new LatencySamples();
  /** The first reason why a stream ended early. */
  failure: string | undefined;
  lost = 0;
  #ready = 0;
  #sweep: NodeJS.Timeout | undefined;

  /** Opens `count` streams, `subscriptions[i % length]` each, and waits until all stand. */
  async open(port: number, subscriptions: readonly Subscription[], count: number): Promise<void> {
    const step = Math.ceil(count / sampledSockets);
    let opened = 0;
    await until(() => {
      for (; opened < count && opened - this.#ready < connectsAtOnce; opened++) {
        this.#make(port, subscriptions[opened % subscriptions.length]!, opened % step === 0).ask();
      }
      return this.#ready === count || this.failure !== undefined;
    }, connectWithin);
    this.#expect('opened', this.#ready, count);
  }

  /** Connects without asking yet; `ask` follows for each. */
  async connectOnly(port: number, subscription: Subscription, count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      this.#make(port, subscription, false);
      if (index % connectsAtOnce === connectsAtOnce - 1) await until(() => this.all.every(isConnected), connectWithin);
    }
    await until(() => this.all.every(isConnected), connectWithin);
    this.#expect('connected', this.all.filter(isConnected).length, count);
  }

  /** Deliveries to all subscribers together. */
  deliveries(): number {
    let sum = 0;
    for (const subscriber of this.all) sum += subscriber.deliveries;
    return sum;
  }

  bytes(): number {
    let sum = 0;
    for (const subscriber of this.all) sum += subscriber.bytes;
    return sum;
  }

  reset(): void {
    for (const subscriber of this.all) subscriber.deliveries = 0;
  }

  /**
   * Reads each stream only every `ms` milliseconds (the kernel holds what came), which costs a fraction of the CPU
   * when latency is not asked for. 0 goes back to reading at once.
   */
  readEvery(ms: number): void {
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    for (const { socket } of this.all) ms === 0 ? socket.resume() : socket.pause();
    if (ms === 0) return;
    this.#sweep = setInterval(() => {
      for (const { socket } of this.all) socket.resume();
      // timers → poll (reads all that waits) → immediates
      setImmediate(() => setImmediate(() => this.#sweep && this.all.forEach(pause)));
    }, ms);
  }

  /** Reads nothing more: what comes stays in the buffers of the kernel, and then at the server. */
  stall(): void {
    this.all.forEach(pause);
  }

  /** Waits until every subscriber has `each` deliveries, as long as there is progress. */
  async drained(each: number, within = 30_000, silence = 3_000): Promise<void> {
    let progress = performance.now();
    let before = -1;
    await until(() => {
      const counted = this.deliveries();
      if (counted !== before) progress = performance.now();
      before = counted;
      return counted >= each * this.all.length || performance.now() - progress > silence;
    }, within);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const subscriber of this.all) subscriber.destroy();
    this.all.length = 0;
    this.#ready = 0;
    this.lost = 0;
    this.failure = undefined;
  }

  #make(port: number, subscription: Subscription, sampled: boolean): Subscriber {
    let open = true;
    const subscriber = new Subscriber(port, subscription, {
      samples: sampled ? this.samples : undefined,
      onReady: () => this.#ready++,
      onEnd: why => {
        if (open) this.lost++;
        open = false;
        this.failure ??= why;
      },
    });
    this.all.push(subscriber);
    return subscriber;
  }

  #expect(what: string, done: number, count: number): void {
    if (done === count && this.failure === undefined) return;
    throw new Error(`${what} ${done} of ${count} streams: ${this.failure ?? `no more within ${connectWithin} ms`}`);
  }
}

function isConnected({ socket }: Subscriber): boolean {
  return !socket.connecting;
}

function pause({ socket }: Subscriber): void {
  socket.pause();
}
