import { JetStreamApiError, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { type Clock, systemClock } from '../../log/clock.ts';
import { type EpochStart, nextEpoch } from '../../log/epoch-list.ts';
import type { Random } from '../../log/random.ts';
import type { PartitionState } from '../broker-partition.ts';
import { apiError, isWrongSequence } from './api-errors.ts';
import type { Line } from './connection.ts';
import type { Names } from './names.ts';
import { type Mark, type Moment, nanosecondsOf, type Seen } from './seen.ts';
import type { Judgeable } from './server-settings.ts';

export interface Retention {
  /** Entries older than that are removed, by the time at which the server took them, ms. */
  readonly age?: number | undefined;
  /** Beyond so many bytes the oldest entries are removed. */
  readonly bytes?: number | undefined;
}

export interface StandingParts {
  readonly names: Names;
  /** Partitions of the log. */
  readonly count: number;
  readonly replicas: number;
  readonly retention: Retention;
  /** Throws when the log must not live in a stream that would be made so. */
  readonly judge: (line: Line, stream: Judgeable) => void;
  readonly seen: Seen;
  readonly clock: Clock;
  readonly random: Random;
}

/** What is written down of the epochs of a stream. */
interface EpochPage {
  /** Of the stream: of another they tell nothing. */
  readonly id: string;
  /** Which run of the server the newest epoch is of: another may have lost the newest entries. */
  readonly run: string;
  readonly epochs: readonly EpochStart[];
}

interface FoundPage {
  readonly page: EpochPage | undefined;
  /** Sequence of the message that holds it, 0 for none. */
  readonly sequence: number;
}

type WithName = Partial<StreamConfig> & Pick<StreamConfig, 'name'>;

const catchUpAttempts = 20;
const catchUpPause = 100;
/** ns */
const duplicateWindowLeast = 100e6;
const idKey = 'tailrace_id';
const countKey = 'tailrace_partitions';
/** Epochs that are remembered: whoever stood in an older one is told that it is gone. */
const epochsMost = 1000;

/**
 * Tells where a stream stands, and begins a new epoch where that is needed: a server that was started again may have lost its
 * newest entries, since what it has acked it has not always synced. The epochs are in a stream of
 * their own and change only from the newest page that is there, so that all nodes agree, and no node appends over a
 * connection before it has asked here.
 */
export class Standing {
  readonly #parts: StandingParts;
  info: StreamInfo | undefined;

  constructor(parts: StandingParts) {
    this.#parts = parts;
  }

  async ask(line: Line): Promise<PartitionState> {
    const { seen, clock } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      // what is read and told while this waits for answers is newer than they are
      const before = seen.now;
      const info = await this.#stream(line);
      const id = this.#idOf(info);
      const { page, sequence } = await this.#page(line);
      const known = page?.id === id ? page : undefined;
      const run = runOf(line);
      const kept = before.id === id ? await this.#kept(line, info, before, known?.epochs ?? []) : undefined;
      if (!seen.isSameAs(before)) continue;
      // who has just begun to lead a cluster may have to catch up
      if (kept !== undefined && line.nats.info!.cluster !== undefined && attempt < catchUpAttempts) {
        await new Promise<void>(resolve => systemClock.after(catchUpPause, resolve));
        continue;
      }
      if (known?.run === run && kept === undefined) return this.#adopt(info, known);
      const first = Math.min(kept ?? Number.POSITIVE_INFINITY, info.state.last_seq) + 1;
      const epoch = nextEpoch(Math.max(seen.epoch, known?.epochs.at(-1)?.epoch ?? 0), clock.now());
      const next = { id, run, epochs: withNext(known?.epochs ?? [], { epoch, first }) };
      if (await this.#write(line, next, sequence)) return this.#adopt(info, next);
    }
  }

  /** The server removes what is too old or too much: it is told when that has changed. */
  async applyRetention({ jetstream }: Line): Promise<void> {
    const { config } = this.info!;
    const { max_age, max_bytes } = this.#limits;
    if (config.max_age === max_age && config.max_bytes === max_bytes) return;
    this.info = await jetstream.streams.update(config.name, { max_age, max_bytes });
  }

  get #limits(): Pick<StreamConfig, 'max_age' | 'max_bytes'> {
    const { age, bytes } = this.#parts.retention;
    return { max_age: age === undefined ? 0 : Math.max(100, age) * 1e6, max_bytes: bytes ?? -1 };
  }

  /** Of all streams of the log. */
  get #common(): Pick<StreamConfig, 'num_replicas' | 'storage' | 'retention'> {
    return { num_replicas: this.#parts.replicas, storage: 'file', retention: 'limits' };
  }

  #idOf({ config: { name, metadata } }: StreamInfo): string {
    const id = metadata?.[idKey];
    if (id === undefined) throw new Error(`stream ${name} was not made by Tailrace: nats.name has to be another`);
    const held = metadata?.[countKey] ?? '1';
    if (Number(held) !== this.#parts.count)
      throw new Error(
        `the log of stream ${name} has ${held} partitions and not ${this.#parts.count}: set nats.partitions to ${held}, or begin another log with nats.name`,
      );
    return id;
  }

  #adopt(info: StreamInfo, { id, epochs }: EpochPage): PartitionState {
    this.info = info;
    const { seen } = this.#parts;
    const { first_seq, last_seq, bytes } = info.state;
    if (seen.id !== id) seen.goBack(0);
    else seen.goBack(endBehind(epochs, seen.epoch));
    seen.id = id;
    seen.epoch = epochs.at(-1)!.epoch;
    seen.reached(last_seq);
    return { id, epochs, floor: Math.max(0, first_seq - 1), head: seen.offset, bytes };
  }

  /** Up to where the stream holds what this node had seen; undefined when all is there that the epochs do not tell of. */
  async #kept(
    line: Line,
    { state }: StreamInfo,
    before: Moment,
    epochs: readonly EpochStart[],
  ): Promise<number | undefined> {
    // the page itself was lost
    if ((epochs.at(-1)?.epoch ?? 0) < before.epoch) return state.last_seq;
    // another node may have noticed what this one does
    const end = endBehind(epochs, before.epoch);
    if (state.last_seq < Math.min(before.offset, end)) return state.last_seq;
    const holds = async (mark: Mark): Promise<boolean> => {
      if (mark.offset < state.first_seq) return true;
      const found = await line.jetstream.streams.getMessage(this.#parts.names.stream, { seq: mark.offset });
      // one that was deleted by hand tells nothing
      return found === null || nanosecondsOf(found.timestamp) === mark.stored;
    };
    const marks = before.marks.filter(({ offset }) => offset <= end);
    for (const mark of marks.toReversed())
      if (await holds(mark)) return mark === marks.at(-1) ? undefined : mark.offset;
    return marks.length === 0 ? undefined : 0;
  }

  async #stream(line: Line): Promise<StreamInfo> {
    const { names, count, random, judge } = this.#parts;
    const { streams } = line.jetstream;
    return unlessMissing(streams.info(names.stream), async () => {
      const stream = {
        ...this.#common,
        name: names.stream,
        subjects: [names.subjects],
        allow_direct: true,
        allow_atomic: true,
        // entries have no ids by which they would be known
        duplicate_window: duplicateWindowLeast,
        ...this.#limits,
        metadata: { [idKey]: random.id(12), [countKey]: String(count) },
      };
      // a start that is refused leaves nothing behind
      judge(line, stream);
      await this.#make(line, stream);
      return streams.info(names.stream);
    });
  }

  async #page(line: Line): Promise<FoundPage> {
    const { names } = this.#parts;
    const { streams } = line.jetstream;
    const found = await unlessMissing(
      streams.getMessage(names.epochsStream, { last_by_subj: names.epochs }),
      async () => {
        await this.#make(line, {
          ...this.#common,
          name: names.epochsStream,
          subjects: [names.epochsSubjects],
          max_msgs_per_subject: 1,
        });
        return null;
      },
    );
    return found === null ? { page: undefined, sequence: 0 } : { page: found.json<EpochPage>(), sequence: found.seq };
  }

  async #make({ jetstream }: Line, config: WithName): Promise<void> {
    try {
      await jetstream.streams.add(config);
    } catch (error) {
      // another node made it, with an id of its own
      if (!(error instanceof JetStreamApiError) || error.code !== apiError.streamNameExists) throw error;
    }
  }

  /** False when another node was faster. */
  async #write(line: Line, page: EpochPage, sequence: number): Promise<boolean> {
    const expected = headers();
    expected.set('Nats-Expected-Last-Subject-Sequence', String(sequence));
    const answer = await line.nats.request(this.#parts.names.epochs, JSON.stringify(page), {
      headers: expected,
      timeout: 60_000,
    });
    const { error } = answer.json<{ error?: { err_code: number; description: string } }>();
    if (error === undefined) return true;
    if (isWrongSequence(error.err_code)) return false;
    throw new Error(`NATS does not take the epochs of ${this.#parts.names.stream}: ${error.description}`);
  }
}

async function unlessMissing<T>(question: Promise<T>, missing: () => Promise<T>): Promise<T> {
  try {
    return await question;
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== apiError.streamNotFound) throw error;
  }
  return missing();
}

/**
 * Changes whenever entries may have been lost without a sign. A server alone may lose some when it is started again, and
 * nobody appends over a connection from before. In a cluster others go on appending while leaders change, and what a majority
 * had stays: a loss there is known by what was seen.
 */
function runOf({ nats }: Line): string {
  const server = nats.info!;
  return server.cluster === undefined ? server.server_id : `cluster ${server.cluster}`;
}

/** Where the epoch ended, as far as epochs that began later tell. */
function endBehind(epochs: readonly EpochStart[], epoch: number): number {
  const later = epochs.find(start => start.epoch > epoch);
  return later === undefined ? Number.POSITIVE_INFINITY : later.first - 1;
}

/** Epochs of which nothing is left stay, empty. */
function withNext(epochs: readonly EpochStart[], next: EpochStart): readonly EpochStart[] {
  const kept = epochs.slice(-epochsMost + 1).map(({ epoch, first }) => ({ epoch, first: Math.min(first, next.first) }));
  return [...kept, next];
}
