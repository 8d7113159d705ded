import { EpochList, type EpochStart } from '../../../log/epoch-list.ts';
import type { LogStand } from './command.ts';

/** Logs before this one that are remembered. */
const pastMost = 16;

export interface ToldLogState {
  readonly id: string;
  readonly past: readonly string[];
  readonly floor: number;
  readonly epochs: readonly EpochStart[];
}

/** What happened to the log: an epoch began, and with it the newest records may have gone, or it was made anew. */
export type LogChange = 'none' | 'epoch' | 'anew';

/** The log, as far as any node has told the ledger of it. */
export class ToldLog {
  id = '';
  floor = 0;
  #epochs = new EpochList([]);
  #past: string[] = [];

  get newestEpoch(): number {
    return this.#epochs.current?.epoch ?? -1;
  }

  take({ id, floor, epochs }: LogStand): LogChange {
    if (this.#past.includes(id)) return 'none';
    if (id !== this.id) {
      const change = this.id === '' ? 'none' : 'anew';
      if (change === 'anew') this.#past = [...this.#past, this.id].slice(-pastMost);
      this.id = id;
      this.floor = floor;
      this.#epochs = new EpochList(epochs ?? []);
      return change;
    }
    this.floor = Math.max(this.floor, floor);
    const newest = epochs?.[epochs.length - 1]?.epoch ?? -1;
    if (newest <= this.newestEpoch) return 'none';
    const change = this.newestEpoch === -1 ? 'none' : 'epoch';
    this.#epochs = new EpochList(epochs!);
    return change;
  }

  epochOf(offset: number): number {
    return this.#epochs.epochOf(offset);
  }

  /** Where the epoch ended; it may be still running. */
  endOf(epoch: number): number {
    const later = this.#epochs.starts.find(start => start.epoch > epoch);
    return later === undefined ? Number.POSITIVE_INFINITY : later.first - 1;
  }

  /** Whether who told of `id` has read up to a record that is in the log. */
  has(id: string, head: { readonly epoch: number; readonly offset: number }): boolean {
    if (id !== this.id) return false;
    return head.offset === 0 || (head.epoch <= this.newestEpoch && head.offset <= this.endOf(head.epoch));
  }

  get state(): ToldLogState {
    return { id: this.id, past: this.#past, floor: this.floor, epochs: this.#epochs.starts };
  }

  restore({ id, past, floor, epochs }: ToldLogState): void {
    this.id = id;
    this.floor = floor;
    this.#epochs = new EpochList(epochs);
    this.#past = [...past];
  }
}
