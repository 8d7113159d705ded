interface Item {
  readonly due: number;
  readonly offset: number;
}

/**
 * Offsets by when they are due, the soonest first, and of those that are due together the lowest. What it holds is more than
 * what counts: whoever takes an offset out has to look whether it is still due then.
 */
export class DueQueue {
  /** A binary heap. */
  readonly #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  get first(): Item | undefined {
    return this.#items[0];
  }

  push(due: number, offset: number): void {
    const items = this.#items;
    const item = { due, offset };
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!isBefore(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  shift(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++;
      if (!isBefore(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
  }

  clear(): void {
    this.#items.length = 0;
  }
}

function isBefore(one: Item, other: Item): boolean {
  return one.due < other.due || (one.due === other.due && one.offset < other.offset);
}
