const label = 'page';
const retryLeast = 500;
const retryMost = 4000;

/**
 * One subscription over WebSocket (docs/protocol.md §7). It remembers the cursor of the last frame, so that it goes on
 * exactly there: after a cut, after a broken connection, and with other filters.
 */
export class Stream {
  cursor;
  #filter;
  #on;
  #socket;
  #retry;

  /** `on`: {status, subscribed, message, live, notice, refused}, called with a word, a frame or a message. */
  constructor(on) {
    this.#on = on;
  }

  /** Reads `filter` from the cursor on, or from now when there is none. */
  open(filter) {
    this.close();
    this.#filter = filter;
    this.#on.status('connecting');
    const url = new URL('/v1/ws', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new WebSocket(url, 'tailrace.v1.json');
    this.#socket = socket;
    socket.onopen = () => {
      const place = this.cursor === undefined ? { from: 'now' } : { cursor: this.cursor };
      const client = { name: 'live-page', version: '1' };
      socket.send(JSON.stringify({ type: 'connect', client, subscribe: [{ sub: label, filter, ...place }] }));
    };
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => this.#comeBack(retryLeast + Math.random() * (retryMost - retryLeast));
  }

  /** Ends it; the cursor stays. */
  close() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #comeBack(delay) {
    this.close();
    this.#on.status('reconnecting');
    this.#retry = setTimeout(() => this.open(this.#filter), delay);
  }

  #take(frame) {
    const { type } = frame;
    if (type === 'messages' || type === 'cursor') {
      // frames form a chain; one that does not begin where the last ended shows that something is missing
      if (frame.after !== undefined && frame.after !== this.cursor) return this.#comeBack(0);
      for (const message of frame.messages ?? []) this.#on.message(message);
      if (frame.cursor !== undefined) this.cursor = frame.cursor;
    } else if (type === 'subscribed') {
      this.cursor = frame.cursor;
      this.#on.subscribed(frame);
    } else if (type === 'live') {
      this.#on.status('live');
      this.#on.live();
    } else if (type === 'gap' || type === 'reset' || type === 'end') {
      this.cursor = frame.cursor;
      this.#on.notice(frame);
    } else if (type === 'drain') {
      this.#comeBack(Math.random() * frame.within);
    } else if (type === 'unsubscribed') {
      this.#comeBack(retryLeast);
    } else if (type === 'error') {
      if (frame.retry === 'later') return this.#comeBack(frame.retryAfter ?? retryMost);
      this.close();
      this.#on.refused(frame);
    }
  }
}
