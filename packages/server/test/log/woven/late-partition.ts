import type { Log, Position, TailListener } from '../../../src/log/log.ts';
import type { RecordBatch } from '../../../src/log/record-batch.ts';

/** A partition as a node sees it whose tail is late: what is in `log` comes to it when the test says so. */
export class LatePartition {
  readonly seen: Log;
  readonly #log: Log;
  readonly #listeners = new Set<TailListener>();
  #waiting: RecordBatch[] = [];
  #head: Position;

  constructor(log: Log) {
    this.#log = log;
    this.#head = log.head;
    log.tail({ onCommit: batch => this.#waiting.push(batch) });
    this.seen = new Proxy(log, {
      get: (target, name) => {
        if (name === 'head') return this.#head;
        if (name === 'floor') return Math.min(target.floor, this.#head.offset);
        if (name === 'tail') return (listener: TailListener) => this.#tail(listener);
        if (name === 'endOf') return (epoch: number) => this.#endOf(epoch);
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets so many batches through. */
  come(count: number): void {
    for (const batch of this.#waiting.splice(0, count)) {
      this.#head = { ...this.#head, offset: batch.last, time: batch.timeAt(batch.count - 1) };
      for (const listener of this.#listeners) listener.onCommit(batch);
    }
  }

  #tail(listener: TailListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #endOf(epoch: number): number | undefined {
    const end = this.#log.endOf(epoch);
    return end === undefined ? undefined : Math.min(end, this.#head.offset);
  }
}
