/** The table as the server has it: rows by `<warehouse> <sku>`, each {warehouse, sku, offset, name, stock}. */
export class Stock {
  rows = new Map();
  status = 'connecting';
  /** Changes applied, and streams that went on after the last one. */
  changes = 0;
  resumed = 0;
  #url;
  #changed;
  #stream;

  constructor(tailrace, changed) {
    this.#url = tailrace.endsWith('/') ? tailrace : `${tailrace}/`;
    this.#changed = changed;
    this.#open();
  }

  /** Resolves to undefined, or to what is wrong: {code, detail, current}. Without `data` it removes the row. */
  async publish(warehouse, sku, expect, data) {
    const query = new URLSearchParams({ key: sku, expect });
    const url = `${this.#url}v1/topics/inventory/${encodeURIComponent(warehouse)}?${query}`;
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: data === undefined ? '' : JSON.stringify(data),
      });
      return response.ok ? undefined : await response.json();
    } catch {
      return { code: 'unreachable', detail: 'The server does not answer. Nothing is lost: try again when it is back.' };
    }
  }

  /** The rows first, then every change: from the beginning, since a page that was loaded anew has nothing. */
  #open() {
    this.#stream?.close();
    this.rows.clear();
    // the browser reconnects by itself, and says by Last-Event-ID after which change to go on
    const stream = new EventSource(`${this.#url}v1/sse?filter=inventory/%2B&from=last`);
    this.#stream = stream;
    stream.onmessage = event => this.#take(JSON.parse(event.data));
    stream.addEventListener('tailrace', event => this.#notice(JSON.parse(event.data)));
    stream.onerror = () => {
      this.#say('reconnecting');
      // only an answer that forbids it, such as a proxy's, ends an EventSource for good
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => this.#open(), 2000);
    };
  }

  #take({ topic, key, offset, data }) {
    const warehouse = topic.slice('inventory/'.length);
    const id = `${warehouse} ${key}`;
    // a row without data was removed
    if (data === undefined) this.rows.delete(id);
    else this.rows.set(id, { warehouse, sku: key, offset, ...data });
    this.changes++;
    this.#changed();
  }

  #notice({ type, recovered }) {
    if (type === 'live') this.#say('live');
    if (type === 'subscribed' && recovered === true) this.resumed++;
    // some change is missing, perhaps a removal: what is there is read anew
    if (type === 'gap' || type === 'reset') this.#open();
  }

  #say(status) {
    this.status = status;
    this.#changed();
  }
}
