import * as path from 'node:path';
import type { Dedupe, DedupeState } from '../../dedupe.ts';
import type { LogReport } from '../../report.ts';
import type { Disk } from '../files/disk.ts';
import { replaceFile } from '../files/replace-file.ts';
import { readAll } from '../segment/read-segment.ts';
import type { Segment } from '../segment/segment.ts';
import { checkpointName, parseCheckpointName, segmentName } from '../segment/segment-name.ts';
import { type CheckpointHeader, checkCheckpoint, encodeCheckpoint, restoreCheckpoint } from './checkpoint-format.ts';

export interface DedupeCheckpointParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly logId: string;
  readonly dedupe: Dedupe;
  /** This start went on without records that were lost: what was remembered of them must not refuse them. */
  readonly lossAccepted: boolean;
  readonly report: (report: LogReport) => void;
}

/**
 * Writes down what de-duplication remembers each time a segment is complete, so that a start reads that and what came
 * after, not the log. The newest counts; it is written in full before those before it go.
 */
export class DedupeCheckpoints {
  /** What is written down knows ids that were forgotten since. */
  outdated = false;
  readonly #parts: DedupeCheckpointParts;
  #writing: Promise<void> | undefined;
  /** Of the newest checkpoint. */
  #bytes = 0;
  #newest: CheckpointHeader | undefined;
  /** What complete segments hold that no checkpoint knows. */
  #newRecords = 0;
  #newBytes = 0;

  constructor(parts: DedupeCheckpointParts) {
    this.#parts = parts;
  }

  /** Fills `dedupe` from the newest checkpoint that is whole and fits the log; returns the offset up to which, or 0. */
  async restore(segments: readonly Segment[]): Promise<number> {
    const { disk, directory, dedupe } = this.#parts;
    const names = (await disk.list(directory)).filter(name => parseCheckpointName(name) !== undefined);
    let known = 0;
    for (const name of names.sort().reverse()) {
      if (known === 0) {
        // a bad sector here must not keep the log from starting
        const buffer = await readAll(disk, path.join(directory, name)).catch((error: unknown) => String(error));
        const header = typeof buffer === 'string' ? buffer : checkCheckpoint(buffer);
        const wrong = typeof header === 'string' ? header : this.#misfit(header, segments);
        if (wrong === undefined && typeof header !== 'string' && typeof buffer !== 'string') {
          restoreCheckpoint(buffer, header, dedupe);
          known = header.lastOffset;
          this.#bytes = buffer.length;
          this.#newest = header;
          continue;
        }
        this.#warn(`${name} cannot be used: ${wrong}. What was published is read from the newest of the log instead`);
      }
      await disk.unlink(path.join(directory, name));
    }
    return known;
  }

  /** A complete segment that no checkpoint knows. */
  behind(segment: Segment): void {
    this.#newRecords += segment.remembered;
    this.#newBytes += segment.end;
  }

  /** Everything up to the end of this segment is committed, and nothing behind it yet. */
  take(segment: Segment): void {
    // a checkpoint larger than the log it stands for would cost more than it saves
    if (this.#writing !== undefined) return;
    if (!this.outdated && (this.#newRecords === 0 || this.#newBytes < this.#bytes)) return;
    this.#begin(segment);
  }

  /** Writes the newest checkpoint anew where there is no record that another could stand behind. */
  takeAgain(): void {
    if (this.#writing === undefined && this.#newest !== undefined) this.#beginAs(this.#newest);
  }

  /** Ids were forgotten before their time: the next checkpoint comes whatever it costs. */
  expire(): void {
    this.outdated = this.#bytes > 0 || this.#writing !== undefined;
  }

  /** Resolves when none is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Writes down what is new at the end of `newest`, the last segment there will be. */
  async close(newest: Segment | undefined): Promise<void> {
    await this.#writing;
    if (newest !== undefined && (this.#newRecords > 0 || this.outdated)) this.#begin(newest);
    await this.#writing;
  }

  #begin({ firstOffset, lastOffset, lastCrc, header: { generation } }: Segment): void {
    this.#beginAs({ logId: this.#parts.logId, firstOffset, generation, lastOffset, lastCrc });
  }

  #beginAs(place: Omit<CheckpointHeader, 'ids' | 'producers'>): void {
    const { dedupe } = this.#parts;
    const state = dedupe.state();
    const header: CheckpointHeader = { ...place, ids: dedupe.idCount, producers: dedupe.producerCount };
    const name = segmentName(header.firstOffset, header.generation);
    const { outdated } = this;
    this.#newRecords = 0;
    this.#newBytes = 0;
    this.outdated = false;
    this.#writing = this.#write(checkpointName(name), header, state)
      // the one before it still counts, and a start reads on from there
      .catch(error => {
        this.outdated ||= outdated;
        this.#warn(`what was published up to ${name} could not be written down: ${String(error)}`);
      })
      .finally(() => {
        state.release();
        this.#writing = undefined;
      });
  }

  async #write(name: string, header: CheckpointHeader, state: DedupeState): Promise<void> {
    const { disk, directory } = this.#parts;
    let at = 0;
    await replaceFile(disk, path.join(directory, name), async file => {
      for (const chunk of encodeCheckpoint(header, state)) {
        await file.write(chunk, 0, chunk.length, at);
        at += chunk.length;
      }
    });
    this.#bytes = at;
    this.#newest = header;
    for (const other of await disk.list(directory))
      if (other !== name && parseCheckpointName(other) !== undefined) await disk.unlink(path.join(directory, other));
  }

  /** Why the checkpoint is not one of this log as it is now. */
  #misfit(header: CheckpointHeader, segments: readonly Segment[]): string | undefined {
    if (header.logId !== this.#parts.logId) return 'it belongs to another log';
    if (this.#parts.lossAccepted) return 'it may know records whose loss was accepted';
    const segment = segments.find(({ firstOffset }) => firstOffset === header.firstOffset);
    if (segment === undefined) {
      // retention may have removed its segment since
      const floor = (segments[0]?.firstOffset ?? 0) - 1;
      return header.lastOffset <= floor ? undefined : 'its segment is not there';
    }
    // a rewritten segment holds less, and its frames are others
    if (segment.header.generation > header.generation) return undefined;
    return segment.lastOffset === header.lastOffset && segment.lastCrc === header.lastCrc
      ? undefined
      : `${segment.name} ends otherwise than it says`;
  }

  #warn(message: string): void {
    this.#parts.report({ level: 'warn', kind: 'dedupe_checkpoint', message });
  }
}
