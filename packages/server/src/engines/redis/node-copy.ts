import type { Deletions } from '../../log/deletions.ts';
import type { EndedTopics } from '../../log/ended-topics.ts';
import type { HotTail } from '../../log/hot-tail.ts';
import type { KeyIndex } from '../../log/key-index.ts';
import { type PackedBatch, packedBatch } from '../packed-batch.ts';
import type { PackedRecord } from '../packed-record.ts';
import type { DeletionNote } from './entry.ts';
import type { Erasure } from './erasure.ts';
import type { KnownLog } from './known-log.ts';
import type { Marks } from './marks.ts';
import type { Status } from './scripts/status.ts';

export interface NodeCopyParts {
  readonly known: KnownLog;
  readonly hot: HotTail;
  readonly deletions: Deletions;
  readonly keys: KeyIndex;
  readonly ended: EndedTopics;
  readonly erasure: Erasure;
  /** Records are gone from the beginning of the log. */
  readonly onRemoval: () => void;
}

/** What this node has of the log in its memory, as its tail brings it. */
export class NodeCopy {
  readonly #parts: NodeCopyParts;

  constructor(parts: NodeCopyParts) {
    this.#parts = parts;
  }

  /** At the head of the log, with nothing of it read. */
  begin(told: Status, marks: Marks): void {
    const { known, hot } = this.#parts;
    known.take(told);
    known.goBack(told.head, told.time);
    known.floor = told.floor;
    hot.base = told.head;
    this.#takeMarks(marks);
  }

  /** The newest records up to the head, before anything came. */
  preload(records: readonly PackedRecord[]): void {
    const [first] = records;
    if (first === undefined) return;
    this.#parts.hot.base = first.offset - 1;
    this.#parts.hot.push(packedBatch(records));
  }

  /** The next records. */
  take(batch: PackedBatch): void {
    const { known, hot, keys, ended } = this.#parts;
    hot.push(batch);
    known.offset = batch.last;
    known.time = batch.timeAt(batch.count - 1);
    keys.committed(batch);
    for (let i = 0; i < batch.count; i++) {
      if (!batch.endsTopic(i)) continue;
      ended.add(batch.topics.names[batch.topics.of(i)]!, batch.offsetAt(i));
    }
  }

  noteDeletion({ topic, upTo, table }: DeletionNote): void {
    const { hot, ended, keys, deletions, erasure } = this.#parts;
    hot.remove(topic, upTo);
    ended.forget(topic, upTo);
    keys.deleted(topic, upTo);
    deletions.add({ topic, upTo, table });
    erasure.add(topic, upTo);
  }

  /** What lies beyond `offset` is not the log any more, and nothing of what was read before is kept. */
  goBack(offset: number, time: number, told: Status, marks: Marks): void {
    const { known, hot, keys, ended, deletions } = this.#parts;
    known.take(told);
    known.goBack(offset, time);
    known.floor = told.floor;
    hot.reset(offset);
    keys.clear();
    ended.clear();
    deletions.forget(() => true);
    this.#takeMarks(marks);
  }

  raiseFloor(floor: number): void {
    const { known, hot, ended, deletions, onRemoval } = this.#parts;
    if (floor < known.floor) return;
    if (floor > known.floor) onRemoval();
    known.floor = floor;
    const reached = Math.min(floor, known.offset);
    hot.trim(reached);
    ended.trim(reached);
    deletions.forget(({ upTo }) => upTo <= reached);
  }

  #takeMarks(marks: Marks): void {
    const { ended, deletions, erasure } = this.#parts;
    for (const { topic, offset } of marks.ended) ended.add(topic, offset);
    for (const { pending, ...deletion } of marks.deleted) {
      deletions.add(deletion);
      if (pending) erasure.add(deletion.topic, deletion.upTo);
    }
  }
}
