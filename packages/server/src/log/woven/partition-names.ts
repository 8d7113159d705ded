import { type BridgedPartition, numbersPerSource } from './spread.ts';

/** Room for the epochs of a bridged partition, below its stamp. */
const epochs = 2 ** 32;

/** What cursors call partitions, whatever others are bridged beside them on the node that reads or made one. */
export class PartitionNames {
  readonly #own: number;
  /** Ascending by number. */
  readonly #bridged: readonly BridgedPartition[];
  readonly #byNumber: ReadonlyMap<number, number>;

  constructor(own: number, bridged: readonly BridgedPartition[]) {
    this.#own = own;
    this.#bridged = bridged;
    this.#byNumber = new Map(bridged.map(({ number }, i) => [number, own + i]));
  }

  numberOf(partition: number): number {
    return this.#bridged[partition - this.#own]?.number ?? partition;
  }

  /** Undefined for one that is not there. */
  partitionOf(number: number): number | undefined {
    return number < this.#own ? number : this.#byNumber.get(number);
  }

  isBridged(partition: number): boolean {
    return partition >= this.#own;
  }

  /** What cursors call an epoch: that of a source which was made anew is another. */
  epochNamed(partition: number, epoch: number): number {
    const bridged = this.#bridged[partition - this.#own];
    return bridged === undefined ? epoch : bridged.stamp * epochs + epoch;
  }

  /** Undefined when it is one of a source that is gone. */
  epochOf(partition: number, named: number): number | undefined {
    const bridged = this.#bridged[partition - this.#own];
    if (bridged === undefined) return named;
    return Math.floor(named / epochs) === bridged.stamp ? named % epochs : undefined;
  }

  /** Those of which a cursor that names `numbers` could not know: their sources have grown since it was made. */
  grown(numbers: readonly number[]): readonly number[] {
    const newest = new Map<number, number>();
    for (const number of numbers) newest.set(sourceOf(number), Math.max(number, newest.get(sourceOf(number)) ?? 0));
    const found: number[] = [];
    for (const [i, { number }] of this.#bridged.entries())
      if (number > (newest.get(sourceOf(number)) ?? Number.POSITIVE_INFINITY)) found.push(this.#own + i);
    return found;
  }
}

function sourceOf(number: number): number {
  return Math.floor(number / numbersPerSource);
}
