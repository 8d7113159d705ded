import type { ServerFrame } from '@tailrace/protocol';
import { errorOf, lost } from '../errors.ts';
import { post, refusal } from './http.ts';
import { RequestLink } from './request-link.ts';
import { SseText } from './sse-text.ts';
import type { Transport, WireSubscription } from './transport.ts';

/** `POST /v1/sse` (protocol.md §6.2): the frames of a WebSocket on an event stream, read with `fetch`. */
export const sse: Transport = {
  name: 'sse',
  canHold: true,
  isOffered: () => typeof ReadableStream !== 'undefined',
  open: dial => new SseLink(dial),
};

class SseLink extends RequestLink {
  protected async run(subscribe: readonly WireSubscription[], signal: AbortSignal): Promise<void> {
    const { connect } = this.dial;
    const accept = 'text/event-stream, application/problem+json';
    const response = await post(this.dial, '/v1/sse', { connect, subscribe }, { accept, signal });
    if (response.status !== 200) {
      const loss = await refusal(response);
      if (!signal.aborted) this.lose(loss);
      return;
    }
    await this.#read(response.body!, signal);
    if (!signal.aborted) this.lose({ error: lost('the event stream ended'), retryAfter: this.retryAfter });
  }

  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const decoder = new TextDecoder();
    const text = new SseText(
      data => {
        if (!signal.aborted) this.#take(JSON.parse(data) as ServerFrame);
      },
      ms => {
        this.retryAfter = ms;
      },
    );
    const reader = body.getReader();
    for (;;) {
      await this.held;
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      this.dial.listener.onAlive();
      text.take(decoder.decode(value, { stream: true }));
    }
  }

  #take(frame: ServerFrame): void {
    if (frame.type === 'error' && frame.sub === undefined && frame.at === undefined) {
      const { retryAfter, retry } = frame;
      this.lose({ error: errorOf(frame), retryAfter, isFinal: retry === 'never' });
      return;
    }
    if (frame.type === 'welcome') this.welcome(frame);
    else this.dial.listener.onFrame(frame);
  }
}
