import { EpochList } from '../../log/epoch-list.ts';
import type { Position } from '../../log/log.ts';
import type { PartitionState } from '../broker-partition.ts';

/** The log as this node knows it: what has come through its tail, in the epochs that the broker told last. */
export class Known {
  id = '';
  /** The newest entry that came through the tail, whether it counts or not. */
  offset = 0;
  /** The greatest time up to there. */
  time = 0;
  floor = 0;
  bytes = 0;
  epochs: EpochList = new EpochList([]);
  /** The newest record that came through the tail. */
  #headOffset = 0;
  #headTime = 0;

  get head(): Position {
    return { epoch: this.epochs.epochOf(this.#headOffset), offset: this.#headOffset, time: this.#headTime };
  }

  setHead(offset: number, time: number): void {
    this.#headOffset = offset;
    this.#headTime = time;
  }

  take({ id, epochs, bytes }: PartitionState): void {
    this.id = id;
    this.bytes = bytes;
    this.epochs = new EpochList(epochs);
  }

  /** Whether what this node has read is not the log any more, when `state` is what the broker says now. */
  isLost(state: PartitionState): boolean {
    if (state.id !== this.id) return true;
    const list = new EpochList(state.epochs);
    const end = list.endOf(this.epochs.epochOf(this.offset), state.head);
    return this.offset > (end ?? Math.max(0, (state.epochs[0]?.first ?? 1) - 1));
  }
}
