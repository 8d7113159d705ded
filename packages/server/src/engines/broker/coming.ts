/** Who waits until the tail of this node has come to an offset. */
export class Coming {
  #waiting: { readonly offset: number; readonly resolve: () => void }[] = [];

  to(offset: number): Promise<void> {
    return new Promise(resolve => this.#waiting.push({ offset, resolve }));
  }

  /** The tail has come to `offset`. */
  look(offset: number): void {
    if (this.#waiting.length === 0) return;
    for (const waiting of this.#waiting) if (waiting.offset <= offset) waiting.resolve();
    this.#waiting = this.#waiting.filter(waiting => waiting.offset > offset);
  }
}
