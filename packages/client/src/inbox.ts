import type { Envelope } from '@tailrace/protocol';
import type { Item, Notice } from './feed.ts';
import type { Newest } from './seen.ts';

export type Entry = { readonly message: Envelope } | { readonly notice: Notice };

/**
 * What was received and the application has not taken yet. Its cursor moves when the application has taken all that one
 * frame brought; which of an unfinished frame it took is kept beside it, so that these are not given again either.
 */
export class Inbox {
  /** Everything up to here was taken. */
  cursor: string | undefined;
  /** Beyond the cursor these too: the newest of each topic. */
  readonly beyond: Map<string, Newest>;
  /** Messages that wait. */
  held = 0;
  #items: Item[] = [];
  /** Where the next is: in the first item, so many messages on. */
  #at = 0;

  constructor(cursor: string | undefined, beyond: Map<string, Newest>) {
    this.cursor = cursor;
    this.beyond = beyond;
  }

  push(item: Item): void {
    if (item.kind === 'messages') this.held += item.messages.length;
    this.#items.push(item);
  }

  /** The next one, again and again until it is `taken`. */
  next(): Entry | undefined {
    for (;;) {
      const item = this.#items[0];
      if (item === undefined) return undefined;
      if (item.kind === 'notice') return { notice: item.notice };
      const message = item.messages[this.#at];
      if (message !== undefined) return { message };
      this.#finish(item.cursor);
    }
  }

  taken(): void {
    const item = this.#items[0]!;
    if (item.kind === 'notice') {
      this.#finish(item.cursor);
      return;
    }
    const { topic, offset, time } = item.messages[this.#at]!;
    this.held--;
    this.#at++;
    if (this.#at === item.messages.length) this.#finish(item.cursor);
    else if (offset !== undefined) this.beyond.set(topic, { offset, time });
  }

  clear(): void {
    this.#items = [];
    this.#at = 0;
    this.held = 0;
  }

  #finish(cursor: string | undefined): void {
    this.#items.shift();
    this.#at = 0;
    if (cursor === undefined) return;
    this.cursor = cursor;
    this.beyond.clear();
  }
}
