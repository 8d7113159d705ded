import { EpochList } from '../../log/epoch-list.ts';
import type { Position } from '../../log/log.ts';
import type { Status } from './scripts/status.ts';

/** The log as this node knows it: what has come through its tail, in the epochs that the server told last. */
export class KnownLog {
  id: string;
  /** The newest record that came through the tail. */
  offset = 0;
  time = 0;
  floor = 0;
  /** Id of the newest entry that came through the tail. */
  lastEntry = '0-0';
  epochs: EpochList = new EpochList([]);
  status: Status | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** Of the newest record that came through the tail. */
  get epoch(): number {
    return this.epochs.epochOf(this.offset);
  }

  get head(): Position {
    return { epoch: this.epoch, offset: this.offset, time: this.time };
  }

  /** What every script is told first. `skew`: how far `now` may be from the server's clock before that counts, ms. */
  arguments(now: number, skew: number): (string | number)[] {
    return [this.id, this.epochs.current?.epoch ?? 0, this.offset, this.time, now, skew];
  }

  /**
   * Up to where what this node has read is still the log, when `status` is what the server says now; undefined when all
   * of it is.
   */
  rewindBy(status: Status): number | undefined {
    if (this.status === undefined) return undefined;
    if (status.id !== this.id) return status.head;
    const list = new EpochList(status.epochs);
    const end = list.endOf(this.epoch, status.head);
    const kept = end ?? Math.max(0, (status.epochs[0]?.first ?? 1) - 1);
    return this.offset > kept ? kept : undefined;
  }

  /** What follows `offset` comes through the tail (again). */
  goBack(offset: number, time: number): void {
    this.offset = offset;
    this.time = time;
    this.lastEntry = `${offset}-0`;
  }

  take(status: Status): void {
    this.status = status;
    this.id = status.id;
    this.epochs = new EpochList(status.epochs);
  }
}
