/** Messages that are told apart; of more, only the number is known to be larger. */
export const watchMax = 10_000;

/** What tells one message from every other: a topic's offsets are its own. */
export function identityOf({ topic, offset }) {
  return `${topic} ${offset}`;
}

/**
 * Sees by long-poll what is published behind a cursor while the stream is cut: the witness against which the resumed
 * stream is checked, over another transport than its own.
 */
export class Watch {
  identities = new Set();
  #filter;
  #cursor;
  #onCount;
  #wait = new AbortController();
  #done;

  constructor(filter, cursor, onCount) {
    this.#filter = filter;
    this.#cursor = cursor;
    this.#onCount = onCount;
    this.#done = this.#follow();
  }

  get #full() {
    return this.identities.size >= watchMax;
  }

  /** Reads up to the head once more and ends; resolves to the identities of all that was published. */
  async stop() {
    this.#wait.abort();
    await this.#done;
    while (!this.#full && (await this.#poll(0)));
    return this.identities;
  }

  async #follow() {
    const { signal } = this.#wait;
    while (!signal.aborted && !this.#full) {
      try {
        await this.#poll(25_000, signal);
      } catch {
        // the server is away or the wait was ended; a little later it is asked again
        if (!signal.aborted) await new Promise(resolve => setTimeout(resolve, 1000));
      }
    }
  }

  /** Resolves to whether there is more to read. */
  async #poll(wait, signal) {
    const query = new URLSearchParams({ filter: this.#filter, cursor: this.#cursor, wait });
    const response = await fetch(`/v1/poll?${query}`, signal === undefined ? {} : { signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    for (const message of answer.messages) {
      if (message.offset !== undefined && !this.#full) this.identities.add(identityOf(message));
    }
    this.#cursor = answer.cursor;
    this.#onCount(this.identities.size);
    return answer.more;
  }
}
