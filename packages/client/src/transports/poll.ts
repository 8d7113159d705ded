import type { ServerFrame } from '@tailrace/protocol';
import { post, refusal } from './http.ts';
import { RequestLink } from './request-link.ts';
import type { Transport, WireSubscription } from './transport.ts';

/** ms that a poll waits for something to come. */
const wait = 25_000;

/** `POST /v1/poll` (protocol.md §6.2): one request after the other, each with the newest cursors. */
export const poll: Transport = {
  name: 'poll',
  canHold: true,
  isOffered: () => true,
  open: dial => new PollLink(dial),
};

class PollLink extends RequestLink {
  protected async run(first: readonly WireSubscription[], signal: AbortSignal): Promise<void> {
    for (let subscribe = first; subscribe.length > 0; subscribe = this.dial.wanted()) {
      await this.held;
      if (signal.aborted || !(await this.#ask(subscribe, signal))) return;
    }
  }

  /** One request; whether another follows. */
  async #ask(subscribe: readonly WireSubscription[], signal: AbortSignal): Promise<boolean> {
    const { connect, listener } = this.dial;
    // the first is answered at once: it shows that there is a server
    const response = this.isWelcomed
      ? await post(this.dial, `/v1/poll?wait=${wait}`, { subscribe }, { signal })
      : await post(this.dial, '/v1/poll?wait=0', { connect, subscribe }, { signal });
    if (response.status !== 200) {
      const loss = await refusal(response);
      if (!signal.aborted) this.lose(loss);
      return false;
    }
    const { frames } = (await response.json()) as { readonly frames: readonly ServerFrame[] };
    listener.onAlive();
    for (const frame of frames) {
      if (signal.aborted) return false;
      if (frame.type === 'welcome') this.welcome(frame);
      else listener.onFrame(frame);
    }
    return !signal.aborted;
  }
}
