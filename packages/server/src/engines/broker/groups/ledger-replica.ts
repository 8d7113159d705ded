import { TailraceError } from '@tailrace/protocol';
import { type Clock, systemClock } from '../../../log/clock.ts';
import type { EpochStart } from '../../../log/epoch-list.ts';
import type { BrokerPartition, Entry, Following, PartitionState } from '../../broker-partition.ts';
import { Known } from '../known.ts';
import { partsOf } from './checkpoints.ts';
import { type Asked, type Command, type LogStand, packCommand, readCommand } from './command.ts';
import { type Answer, LedgerFold } from './ledger-fold.ts';
import { recover } from './recover.ts';

/** For tests: in production the broker's clock decides, whatever the clocks of nodes show. */
export interface LedgerOptions {
  /** Deadlines run by this clock. */
  readonly clock?: Clock | undefined;
  /** So many bytes of entries and a checkpoint follows. */
  readonly checkpointBytes?: number | undefined;
}

export interface LedgerReplicaParts extends LedgerOptions {
  readonly partition: BrokerPartition;
  /** Unlike that of any other start of any server. */
  readonly node: string;
  /** For people: `Kafka`. */
  readonly broker: string;
  /** The log as this node knows it. */
  readonly stand: () => LogStand & { readonly epochs: readonly EpochStart[] };
  readonly onError: (error: unknown) => void;
}

/** Commands and bytes of one request, at most; one command may have more. */
const commandsMost = 500;
const requestBytes = 1024 * 1024;
const checkpointBytesDefault = 4 * 1024 * 1024;
const pauseAfterError = 100;
/** How long a command is sent again, ms: well below the hour for which its number is remembered. */
const giveUpAfter = 10 * 60 * 1000;
/** A checkpoint follows when so many times as many bytes as the one before have come. */
const checkpointFactor = 4;

/** A command on its way. */
interface Waiting {
  readonly asked: Asked;
  readonly number: number;
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  bytes: Buffer | undefined;
  isDone: boolean;
}

/** Opens the ledger that lives in a partition, and begins to follow it. */
export async function openLedger(parts: LedgerReplicaParts): Promise<LedgerReplica> {
  const replica = new LedgerReplica(parts);
  try {
    await replica.start();
  } catch (error) {
    await replica.close();
    throw error;
  }
  return replica;
}

/**
 * The ledger of groups on one node: a replica of what all nodes make of the same entries. What is asked here is appended,
 * one request at a time; its answer is what the fold says when it has come back.
 *
 *    asked ──► one request ──► partition ──► follower of each node ──► fold ──► answers, where it was asked
 *                                 ▲                                     │
 *                                 └──────── checkpoint, and a trim ◄────┘
 */
export class LedgerReplica {
  /** How often the ledger lost entries, or this node fell behind what was trimmed. */
  resets = 0;
  readonly #parts: LedgerReplicaParts;
  #fold = new LedgerFold();
  #known = new Known();
  #following: Following | undefined;
  #number = 0;
  #queue: Waiting[] = [];
  #underWay: readonly Waiting[] = [];
  #goOn: () => void = () => {};
  #isRunning = false;
  #isRebuilding = false;
  #closed = false;
  /** Bytes of entries since the newest checkpoint, and how many that had. */
  #weight = 0;
  #checkpointWeight = 0;
  /** Up to where the checkpoint before the newest goes. */
  #trimTo = 0;

  constructor(parts: LedgerReplicaParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { partition } = this.#parts;
    await this.#begin(await partition.open());
    this.#following = partition.follow(this.#known.offset, {
      onEntries: entries => this.#take(entries),
      onState: state => this.#compare(state),
      // the log itself, on the same broker, tells of it
      onTrouble: () => {},
    });
  }

  ask(asked: Asked): Promise<Answer> {
    if (this.#closed) return Promise.reject(closedError());
    const answer = new Promise<Answer>((resolve, reject) => {
      const since = systemClock.monotonic();
      this.#queue.push({ asked, number: ++this.#number, since, resolve, reject, bytes: undefined, isDone: false });
    });
    if (!this.#isRunning) void this.#run();
    return answer;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of [...this.#underWay, ...this.#queue.splice(0)]) fail(waiting, closedError());
    this.#goOn();
    await this.#following?.close();
    await this.#parts.partition.close();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // what is asked in this turn of the event loop goes along
    await Promise.resolve();
    while (this.#queue.length > 0) {
      this.#underWay = this.#nextRequest();
      while (this.#open.length > 0) await this.#send();
    }
    this.#isRunning = false;
  }

  get #open(): readonly Waiting[] {
    return this.#underWay.filter(({ isDone }) => !isDone);
  }

  #nextRequest(): readonly Waiting[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(this.#queue.length, commandsMost); count++) {
      bytes += this.#packed(this.#queue[count]!).length;
      if (bytes > requestBytes && count > 0) break;
    }
    return this.#queue.splice(0, count);
  }

  #packed(waiting: Waiting): Buffer {
    const { node, clock, stand } = this.#parts;
    const { asked, number } = waiting;
    const { id, floor, epochs } = stand();
    const isNews = id !== this.#fold.logId || (epochs[epochs.length - 1]?.epoch ?? -1) > this.#fold.newestEpoch;
    const log = { id, floor, epochs: isNews ? epochs : undefined };
    waiting.bytes ??= packCommand({ node, number, at: clock?.now(), log, asked });
    return waiting.bytes;
  }

  /** Resolves when all have come back, or it has to be sent again. */
  async #send(): Promise<void> {
    const { partition } = this.#parts;
    const open = this.#open;
    const isOver = new Promise<void>(resolve => {
      this.#goOn = resolve;
    });
    const stopWatch = systemClock.after(giveUpAfter, this.#goOn);
    try {
      // the time of an entry is the broker's
      const appended = partition.append(open.map(waiting => ({ time: 0, bytes: this.#packed(waiting) })));
      await Promise.race([appended.then(() => isOver), isOver]);
    } catch (error) {
      if (!isPassing(error)) for (const waiting of open) fail(waiting, error as Error);
      await Promise.race([isOver, new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve))]);
    }
    stopWatch();
    for (const waiting of open)
      if (systemClock.monotonic() - waiting.since > giveUpAfter)
        fail(waiting, unavailable(`${this.#parts.broker} does not answer`));
  }

  #take(entries: readonly Entry[]): void {
    if (this.#isRebuilding) return;
    try {
      for (const entry of entries) this.#apply(entry);
    } catch (error) {
      // nothing can be said of what follows an entry that cannot be read
      this.#parts.onError(error);
      void this.close();
    }
    if (this.#open.length === 0) this.#goOn();
  }

  #apply(entry: Entry): void {
    this.#known.offset = entry.offset;
    const command = readCommand(entry.bytes);
    if (command === undefined) return;
    const answer = this.#fold.apply(command, entry.time);
    const isOwn = command.node === this.#parts.node;
    if (isOwn && answer !== undefined) this.#answered(command.number, answer);
    this.#weigh(command, entry.bytes.length, isOwn);
  }

  #answered(number: number, answer: Answer): void {
    const waiting = this.#underWay.find(one => one.number === number);
    if (waiting === undefined || waiting.isDone) return;
    waiting.isDone = true;
    waiting.resolve(answer);
  }

  /** Whoever asked for what brings the ledger over the limit writes a checkpoint; if that fails, another one does later. */
  #weigh({ asked }: Command, bytes: number, isOwn: boolean): void {
    if (asked.kind === 'checkpoint') {
      this.#checkpointWeight = (asked.part === 0 ? 0 : this.#checkpointWeight) + bytes;
      if (asked.part < asked.parts - 1) return;
      this.#weight = 0;
      if (isOwn) this.#trim(this.#trimTo);
      this.#trimTo = asked.upTo;
      return;
    }
    const { checkpointBytes = checkpointBytesDefault } = this.#parts;
    const limit = Math.max(checkpointBytes, checkpointFactor * this.#checkpointWeight);
    const before = Math.floor(this.#weight / limit);
    this.#weight += bytes;
    if (isOwn && Math.floor(this.#weight / limit) > before) this.#writeCheckpoint();
  }

  #writeCheckpoint(): void {
    const { offset, epochs } = this.#known;
    for (const part of partsOf(this.#fold.save(), offset, epochs.epochOf(offset))) this.ask(part).catch(() => {});
  }

  /** All but the newest checkpoint could be lost together with what was not on all disks yet: so two stay. */
  #trim(upTo: number): void {
    if (upTo <= this.#known.floor) return;
    this.#parts.partition.trim(upTo).catch(error => {
      if (!this.#closed) this.#parts.onError(error);
    });
  }

  #compare(state: PartitionState): void {
    if (this.#isRebuilding || this.#closed) return;
    if (this.#known.isLost(state) || this.#known.offset < state.floor) {
      void this.#rebuild(state);
      return;
    }
    this.#known.take(state);
    this.#known.floor = state.floor;
  }

  /** What this node has made of the ledger is not what the others make of it any more. */
  async #rebuild(told: PartitionState): Promise<void> {
    const { partition, onError, node } = this.#parts;
    this.#isRebuilding = true;
    let own: ReadonlyMap<number, Answer>;
    for (let state = told; ; ) {
      try {
        own = await this.#begin(state);
        break;
      } catch (error) {
        if (this.#closed) return;
        onError(error);
        await new Promise<void>(resolve => systemClock.after(5 * pauseAfterError, resolve));
        state = await partition.state().catch(() => state);
      }
    }
    this.resets++;
    this.#isRebuilding = false;
    this.#following?.goBack(this.#known.offset);
    for (const [number, answer] of own) this.#answered(number, answer);
    const counted = this.#fold.numberOf(node);
    for (const waiting of [...this.#open, ...this.#queue]) {
      // a checkpoint holds what the ledger has lost
      if (waiting.number <= counted || waiting.asked.kind === 'checkpoint') fail(waiting, unknown(this.#parts.broker));
      waiting.bytes = undefined;
    }
    this.#goOn();
  }

  /** Answers of this node's commands that were met. */
  async #begin(state: PartitionState): Promise<ReadonlyMap<number, Answer>> {
    const own = new Map<number, Answer>();
    const { fold, known, bytes } = await recover(this.#parts.partition, state, ({ node, number }, answer) => {
      if (node === this.#parts.node) own.set(number, answer);
    });
    this.#fold = fold;
    this.#known = known;
    this.#weight = bytes;
    this.#checkpointWeight = 0;
    this.#trimTo = 0;
    return own;
  }
}

function fail(waiting: Waiting, error: Error): void {
  if (waiting.isDone) return;
  waiting.isDone = true;
  waiting.reject(error);
}

function isPassing(error: unknown): boolean {
  return error instanceof TailraceError && (error.code === 'outcome_unknown' || error.code === 'engine_unavailable');
}

function closedError(): TailraceError {
  return new TailraceError('draining', 'the log is closed');
}

function unavailable(why: string): TailraceError {
  return new TailraceError('engine_unavailable', why, { retryAfter: 5000 });
}

function unknown(broker: string): TailraceError {
  return new TailraceError(
    'outcome_unknown',
    `${broker} took the call, and this node cannot tell any more what came of it`,
    {
      retryAfter: 1000,
    },
  );
}
