import { lost } from '../errors.ts';
import { get, publishByPost, refusal } from './http.ts';
import type { Dial, Link, Loss, Welcome, WireSubscription } from './transport.ts';

/** A link made of requests: each names all that is wanted, so that another set takes another request. */
export abstract class RequestLink implements Link {
  protected readonly dial: Dial;
  protected isWelcomed = false;
  /** What the newest `retry:` said, ms. */
  protected retryAfter: number | undefined;
  /** Settles when what comes may come again; undefined while it may. */
  protected held: Promise<void> | undefined;
  #release: (() => void) | undefined;
  /** Of all there is, and of the request that is under way. */
  readonly #all = new AbortController();
  #request = new AbortController();
  #isRestarting = false;

  constructor(dial: Dial) {
    this.dial = dial;
    this.#restart();
  }

  add(): boolean {
    this.#restart();
    return false;
  }

  remove(): void {
    this.#restart();
  }

  hold(isHeld: boolean): void {
    if (isHeld) {
      this.held ??= new Promise(resolve => {
        this.#release = resolve;
      });
      return;
    }
    this.held = undefined;
    this.#release?.();
  }

  publish(messages: readonly unknown[]): void {
    void publishByPost(this.dial, messages, this.#all.signal);
  }

  ping(): boolean {
    return false;
  }

  close(): void {
    this.#all.abort();
    this.#request.abort();
    this.hold(false);
  }

  /** Requests and takes answers until it is aborted, ends by `lose`, or throws, which is the same. */
  protected abstract run(subscribe: readonly WireSubscription[], signal: AbortSignal): Promise<void>;

  protected welcome(frame: Welcome): void {
    // those of requests that follow are of the same connection to the client
    if (this.isWelcomed) return;
    this.isWelcomed = true;
    this.dial.listener.onWelcome(frame);
  }

  protected lose(loss: Loss): void {
    this.close();
    this.dial.listener.onLost(loss);
  }

  #restart(): void {
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    // what changes in this turn of the event loop goes along
    queueMicrotask(() => {
      this.#isRestarting = false;
      this.#request.abort();
      if (this.#all.signal.aborted) return;
      this.#request = new AbortController();
      void this.#start(this.#request.signal);
    });
  }

  async #start(signal: AbortSignal): Promise<void> {
    try {
      const subscribe = this.dial.wanted();
      if (subscribe.length > 0) await this.run(subscribe, signal);
      else if (!this.isWelcomed) await this.#greet(signal);
    } catch (cause) {
      if (!signal.aborted) this.lose({ error: lost('a request failed', cause), retryAfter: this.retryAfter });
    }
  }

  /** There is nothing to receive: that the server is there is seen by asking what it is. */
  async #greet(signal: AbortSignal): Promise<void> {
    const response = await get(this.dial, '/v1', signal);
    if (response.status !== 200) {
      const loss = await refusal(response);
      if (!signal.aborted) this.lose(loss);
      return;
    }
    const { heartbeat } = (await response.json()) as { readonly heartbeat: number };
    if (!signal.aborted) this.welcome({ type: 'welcome', heartbeat });
  }
}
