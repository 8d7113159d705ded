import * as path from 'node:path';
import type { EpochStart } from '../../epoch-list.ts';
import { checkCheckpoint } from '../dedupe/checkpoint-format.ts';
import { type Disk, errorCode } from '../files/disk.ts';
import { type EpochsFile, readEpochs } from '../files/epochs-file.ts';
import { type Identity, readIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { describePassedOver, takenSegments } from '../recovery/generation.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import {
  recordIsRemembered,
  recordLength,
  recordTime,
  recordTopic,
  recordTopicNumber,
} from '../segment/record-codec.ts';
import { scanSegment } from '../segment/scan.ts';
import { newestSegments, parseCheckpointName, type SegmentName } from '../segment/segment-name.ts';

export interface StatsOptions {
  readonly disk?: Disk | undefined;
  /** How many of the largest topics are named. */
  readonly top?: number | undefined;
}

export interface TopicStats {
  readonly topic: string;
  readonly records: number;
  readonly bytes: number;
}

export interface LogStats {
  readonly id: string | undefined;
  readonly segments: number;
  /** Of whole frames, without what is filled ahead. */
  readonly bytes: number;
  readonly records: number;
  /** First and last offset; 0 without records. */
  readonly first: number;
  readonly last: number;
  /** Times of the first and the newest record, ms since 1970 UTC; 0 without records. */
  readonly oldest: number;
  readonly newest: number;
  readonly epochs: readonly EpochStart[];
  readonly topics: {
    readonly count: number;
    /** False: there were too many to hold, `count` is an upper bound, and those named may be larger than it says. */
    readonly exact: boolean;
    readonly largestByBytes: readonly TopicStats[];
    readonly largestByRecords: readonly TopicStats[];
  };
  readonly dedupe: {
    /** What a start reads; undefined when there is none that is whole. */
    readonly checkpoint:
      | { readonly offset: number; readonly ids: number; readonly producers: number; readonly bytes: number }
      | undefined;
    /** Records with an id or a producer behind it, which a start reads from the log. */
    readonly recordsBehind: number;
  };
  /** What could not be counted. */
  readonly notes: readonly string[];
}

/** Topics counted in memory; beyond it the smaller half is dropped. */
const topicsMax = 1_000_000;

/** What a data directory holds, in use or not. Reads every byte, one segment at a time, and changes nothing. */
export function stats(directory: string, options: StatsOptions = {}): Promise<LogStats> {
  return new Counting(directory, options).run();
}

interface Count {
  records: number;
  bytes: number;
}

class Counting {
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #top: number;
  readonly #topics = new Map<string, Count>();
  readonly #notes: string[] = [];
  #dropped = 0;
  #segments = 0;
  #bytes = 0;
  #records = 0;
  #first = 0;
  #last = 0;
  #oldest = 0;
  #newest = 0;
  #behind = 0;

  constructor(directory: string, { disk = nodeDisk, top = 10 }: StatsOptions) {
    this.#directory = directory;
    this.#disk = disk;
    this.#top = top;
  }

  async run(): Promise<LogStats> {
    const identity = await this.#noting('log.json', () => readIdentity(this.#disk, this.#directory));
    const epochs = await this.#noting('epochs', () => readEpochs(this.#disk, this.#directory));
    const names = await this.#disk.list(this.#directory);
    const checkpoint = await this.#checkpoint(names);
    const segments = await this.#taken(names, identity, epochs);
    for (const [i, { name }] of segments.entries())
      await this.#segment(name, checkpoint?.offset ?? 0, segments[i + 1]?.firstOffset ?? Number.POSITIVE_INFINITY);
    return {
      id: identity?.id,
      segments: this.#segments,
      bytes: this.#bytes,
      records: this.#records,
      first: this.#first,
      last: this.#last,
      oldest: this.#oldest,
      newest: this.#newest,
      epochs: epochs?.starts ?? [],
      topics: {
        count: this.#topics.size + this.#dropped,
        exact: this.#dropped === 0,
        largestByBytes: this.#largest('bytes'),
        largestByRecords: this.#largest('records'),
      },
      dedupe: { checkpoint, recordsBehind: this.#behind },
      notes: this.#notes,
    };
  }

  /** What a start would go on with. */
  async #taken(
    names: readonly string[],
    identity: Identity | undefined,
    epochs: EpochsFile | undefined,
  ): Promise<readonly SegmentName[]> {
    const files = new OpenFiles(this.#disk);
    const parts = { disk: this.#disk, files, directory: this.#directory, identity, epochs };
    // one that a server takes away meanwhile is noted when it is counted
    const taken = await takenSegments(parts, names).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
      return { segments: newestSegments(names), passedOver: [] };
    });
    await files.close();
    this.#notes.push(...taken.passedOver.map(describePassedOver));
    return taken.segments;
  }

  async #checkpoint(names: readonly string[]): Promise<LogStats['dedupe']['checkpoint']> {
    const newest = names
      .filter(name => parseCheckpointName(name) !== undefined)
      .sort()
      .at(-1);
    if (newest === undefined) return undefined;
    const buffer = await this.#noting(newest, () => readAll(this.#disk, path.join(this.#directory, newest)));
    if (buffer === undefined) return undefined;
    const header = checkCheckpoint(buffer);
    if (typeof header !== 'string')
      return { offset: header.lastOffset, ids: header.ids, producers: header.producers, bytes: buffer.length };
    this.#notes.push(`${newest}: ${header}; a start reads the log instead`);
    return undefined;
  }

  async #segment(name: string, checkpointed: number, nextOffset: number): Promise<void> {
    const file = path.join(this.#directory, name);
    const header = await this.#noting(name, () => readHeader(this.#disk, file));
    if (header === undefined) return;
    if (typeof header === 'string') {
      this.#notes.push(`${name}: ${header}`);
      return;
    }
    const buffer = await this.#noting(name, () => readAll(this.#disk, file));
    if (buffer === undefined) return;
    const scan = scanSegment(buffer, header);
    this.#segments++;
    this.#bytes += scan.end;
    // a frame that is being written may look damaged at the end of the newest segment
    if (scan.bad !== undefined && scan.durable > scan.last)
      this.#notes.push(
        `${name}: counted up to offset ${scan.last} only, ${scan.bad.what}: run \`tailrace log verify\``,
      );
    const counts: (Count | undefined)[] = [];
    for (const frame of scan.frames) {
      if (frame.count === 0 || frame.first >= nextOffset) continue;
      let at = frame.position + frameHeaderBytes;
      if (this.#first === 0) {
        this.#first = frame.first;
        this.#oldest = recordTime(buffer, at);
      }
      for (let i = 0; i < frame.count; i++) {
        const number = recordTopicNumber(buffer, at);
        const count = (counts[number] ??= this.#countOf(recordTopic(buffer, at)));
        const length = recordLength(buffer, at);
        count.records++;
        count.bytes += length;
        if (frame.first > checkpointed && recordIsRemembered(buffer, at)) this.#behind++;
        at += length;
      }
      this.#records += frame.count;
      this.#last = frame.last;
      this.#newest = frame.time;
    }
    this.#shrink();
  }

  #countOf(topic: string): Count {
    let count = this.#topics.get(topic);
    if (count === undefined) {
      count = { records: 0, bytes: 0 };
      this.#topics.set(topic, count);
    }
    return count;
  }

  #shrink(): void {
    if (this.#topics.size <= topicsMax) return;
    const sizes = Float64Array.from(this.#topics.values(), ({ bytes }) => bytes).sort();
    const middle = sizes[sizes.length >>> 1]!;
    for (const [topic, { bytes }] of this.#topics) {
      if (bytes > middle) continue;
      this.#topics.delete(topic);
      this.#dropped++;
    }
  }

  #largest(by: 'records' | 'bytes'): TopicStats[] {
    const largest = [...this.#topics].sort(([, a], [, b]) => b[by] - a[by]).slice(0, this.#top);
    return largest.map(([topic, { records, bytes }]) => ({ topic, records, bytes }));
  }

  /** A server may take a file away between its listing and its reading; a damaged one is no reason to stop. */
  async #noting<T>(name: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      const what = errorCode(error) === 'ENOENT' ? 'it went while this was read' : String(error);
      this.#notes.push(`${name}: ${what}`);
      return undefined;
    }
  }
}
