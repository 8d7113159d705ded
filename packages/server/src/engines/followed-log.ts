import type { FilterSet } from '@tailrace/protocol';
import { currentOf } from '../log/current.ts';
import { Deletions } from '../log/deletions.ts';
import type { EndedTopics } from '../log/ended-topics.ts';
import type { EpochList } from '../log/epoch-list.ts';
import { HotTail } from '../log/hot-tail.ts';
import type { KeyIndex } from '../log/key-index.ts';
import {
  type Current,
  type Dropped,
  laterDropped,
  type Position,
  type Slice,
  type TailListener,
  type TopicInfo,
} from '../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../log/options.ts';
import type { LogRecord } from '../log/record.ts';
import type { RecordBatch } from '../log/record-batch.ts';
import type { OffsetRange } from '../log/report.ts';
import { type Tables, tablesOf } from '../log/tables.ts';

/** The log as far as it has come through the tail of this node. */
export interface Followed {
  readonly id: string;
  /** The newest that came, record or not. */
  readonly offset: number;
  readonly head: Position;
  readonly floor: number;
  readonly epochs: EpochList;
}

/** What one read gave. */
export interface FollowedSlice extends Omit<Slice, 'dropped'> {
  /** The server has let go of something in this stretch by a rule of its own. */
  readonly isMissing?: boolean;
}

/** Reads of what the server holds, up to what has come. */
export interface FollowedReads {
  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<FollowedSlice>;
  newest(filters: FilterSet, count: number, to: number): Promise<Map<string, number[]>>;
  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]>;
  firstSince(time: number): Promise<number | undefined>;
  timeAt(offset: number): Promise<number>;
  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]>;
}

export interface FollowedParts {
  readonly known: Followed;
  readonly reads: FollowedReads;
  readonly keys: KeyIndex;
  readonly ended: EndedTopics;
}

/**
 * What all logs have in common that live in a server and that each node follows with one reader: what is known of them has
 * come by that reader, and everything that is read ends there.
 */
export abstract class FollowedLog {
  readonly hot: HotTail;
  readonly tables: Tables;
  readonly deletions: Deletions = new Deletions();
  lost: OffsetRange[] = [];
  rewinds = 0;
  removals = 0;
  protected readonly listeners: Set<TailListener> = new Set();

  constructor({ hotBytes = logDefaults.hotBytes, keep }: CommonLogOptions) {
    this.hot = new HotTail(hotBytes, 0);
    this.tables = tablesOf(keep?.rules ?? []);
  }

  protected abstract get parts(): FollowedParts;

  get id(): string {
    return this.parts.known.id;
  }

  get head(): Position {
    return this.parts.known.head;
  }

  get floor(): number {
    const { floor, head } = this.parts.known;
    return Math.min(floor, head.offset);
  }

  tail(listener: TailListener): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const from = Math.max(after, this.floor);
    const end = Math.max(from, Math.min(to, this.head.offset));
    const { isMissing, ...slice } = await this.parts.reads.read(from, end, filters, maxBytes);
    const dropped = this.deletions.droppedAfter(slice.after, filters);
    return { ...slice, dropped: isMissing === true ? laterDropped(dropped, this.missing(filters)) : dropped };
  }

  droppedAfter(after: number, filters: FilterSet): Dropped {
    return this.deletions.droppedAfter(after, filters);
  }

  async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const found = await this.parts.reads.newest(filters, count, to);
    return Float64Array.from([...found.values()].flat()).sort();
  }

  current(filters: FilterSet, to?: Position): Promise<Current> {
    const { keys: index, reads } = this.parts;
    const parts = {
      log: this,
      tables: this.tables,
      index,
      appended: () => this.head.offset,
      newest: (asked: FilterSet, upTo: number) => reads.newest(asked, 1, upTo),
    };
    return currentOf(parts, filters, to);
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.parts.keys.committedOf(topic, key, this.head.offset);
  }

  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    return this.parts.reads.recordsAt(offsets, maxBytes);
  }

  async positionAt(time: number): Promise<Position> {
    const first = await this.parts.reads.firstSince(time);
    return first === undefined ? this.head : this.positionOf(Math.min(first - 1, this.head.offset));
  }

  async positionOf(offset: number): Promise<Position> {
    return { epoch: this.epochOf(offset), offset, time: await this.parts.reads.timeAt(offset) };
  }

  endOf(epoch: number): number | undefined {
    const { epochs, offset } = this.parts.known;
    return epochs.endOf(epoch, offset);
  }

  epochOf(offset: number): number {
    return this.parts.known.epochs.epochOf(offset);
  }

  endedAt(topic: string): number {
    return this.parts.ended.endOf(topic);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.parts.reads.topics(prefix, after, limit);
  }

  /** What is told when something is missing in a stretch: up to where more may be. */
  protected missing(filters: FilterSet): Dropped {
    const { offset } = this.head;
    return { records: offset, deletions: this.tables.mayMatch(filters) ? offset : 0 };
  }

  protected committed(batch: RecordBatch): void {
    for (const listener of this.listeners) listener.onCommit(batch);
  }

  protected epochBegan(): void {
    for (const listener of this.listeners) listener.onEpoch?.();
  }

  protected wentBack(): void {
    for (const listener of this.listeners) listener.onRewind?.();
  }
}
