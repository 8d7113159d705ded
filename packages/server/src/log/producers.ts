import { Producer, type ProducerEntry, unseen } from './producer.ts';

/** A producer as it stood when a state was asked for. */
export interface ProducerState {
  readonly key: string;
  /** Its highest sequence and those below it that are told apart, ascending. */
  readonly entries: readonly ProducerEntry[];
  /** Of its newest record: what was not used for longest is forgotten first. */
  readonly lastOffset: number;
}

/** One record of a producer on its way to its commit. */
interface OnTheWay extends ProducerEntry {
  readonly key: string;
  readonly producer: Producer;
}

/** Producers by what they sent; beyond `limit` those unused for longest are forgotten. */
export class Producers {
  cutShort = 0;
  foundTime = 0;
  /** Producers of committed records: those of which everything is on its way do not count yet. */
  size = 0;
  readonly #limit: number;
  readonly #byKey = new Map<string, Producer>();
  #onTheWay: OnTheWay[] = [];
  #state: StateUnderWay | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  find(by: string | undefined, name: string, sequence: number): number {
    const producer = this.#byKey.get(producerKey(by, name));
    if (producer === undefined) return unseen;
    const offset = producer.find(sequence);
    this.foundTime = producer.foundTime;
    return offset;
  }

  add(by: string | undefined, name: string, sequence: number, offset: number, time: number): void {
    const key = producerKey(by, name);
    let producer = this.#byKey.get(key);
    if (producer === undefined) {
      producer = new Producer();
      this.#byKey.set(key, producer);
    }
    const entry = { key, producer, sequence, offset, time };
    producer.add(entry);
    this.#onTheWay.push(entry);
  }

  commit(head: number): void {
    const queue = this.#onTheWay;
    let done = 0;
    for (; done < queue.length && queue[done]!.offset <= head; done++) {
      const entry = queue[done]!;
      const { key, producer } = entry;
      this.#state?.keep(key, producer);
      if (producer.lastOffset === 0) this.size++;
      producer.commit(entry);
      if (this.size > this.#limit) this.#dropLeastUsed();
    }
    if (done > 0) this.#onTheWay = done === queue.length ? [] : queue.slice(done);
  }

  rollback(head: number): void {
    const queue = this.#onTheWay;
    while (queue.length > 0 && queue[queue.length - 1]!.offset > head) {
      const entry = queue.pop()!;
      entry.producer.rollback(entry);
      if (entry.producer.empty) this.#byKey.delete(entry.key);
    }
  }

  /** Every producer of a committed record as it stands now, although it is read later. */
  state(): Iterable<ProducerState> {
    this.#state = new StateUnderWay(this.#byKey);
    return this.#state;
  }

  release(): void {
    this.#state = undefined;
  }

  restore(key: string, entries: readonly ProducerEntry[], lastOffset: number): void {
    const producer = new Producer();
    producer.restore(entries, lastOffset);
    this.#byKey.set(key, producer);
    this.size++;
  }

  /** Drops a sixteenth at once, so that finding the least used costs little per producer. */
  #dropLeastUsed(): void {
    const byUse = [...this.#byKey].filter(([, { lastOffset }]) => lastOffset > 0);
    byUse.sort(([, a], [, b]) => a.lastOffset - b.lastOffset);
    for (const [key, producer] of byUse.slice(0, Math.max(1, this.#limit >>> 4))) {
      this.#state?.keep(key, producer);
      producer.forget();
      if (producer.empty) this.#byKey.delete(key);
      this.size--;
      this.cutShort++;
    }
  }
}

/** A state that is being read while producers go on: one that is about to change is copied first. */
class StateUnderWay implements Iterable<ProducerState> {
  readonly #left: Map<string, Producer>;
  readonly #kept: ProducerState[] = [];

  constructor(producers: ReadonlyMap<string, Producer>) {
    this.#left = new Map(producers);
  }

  keep(key: string, producer: Producer): void {
    if (this.#left.get(key) !== producer) return;
    this.#left.delete(key);
    if (producer.lastOffset > 0) this.#kept.push({ key, entries: producer.entries(), lastOffset: producer.lastOffset });
  }

  *[Symbol.iterator](): Generator<ProducerState, void, undefined> {
    // the body runs in many turns: what is kept meanwhile is appended behind
    for (const [key, producer] of this.#left) {
      this.keep(key, producer);
      yield* this.#kept.splice(0);
    }
    yield* this.#kept.splice(0);
  }
}

/** Parts are joined by a character that neither can hold. */
function producerKey(by: string | undefined, name: string): string {
  return by === undefined ? name : `${name}\n${by}`;
}
