import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import type { LogCapabilities } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { currentOf } from '../../log/current.ts';
import { Deletions } from '../../log/deletions.ts';
import { HotTail } from '../../log/hot-tail.ts';
import { KeyIndex } from '../../log/key-index.ts';
import type {
  Appended,
  AppendFailure,
  Current,
  Deleted,
  Dropped,
  EngineProbe,
  LiveChannel,
  Log,
  LogMemory,
  LogStatus,
  Position,
  Slice,
  TailListener,
  TopicInfo,
} from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { type Places, PlainPlaces } from '../../log/places.ts';
import { type Random, systemRandom } from '../../log/random.ts';
import type { LogRecord, StoredDurability } from '../../log/record.ts';
import type { OffsetRange } from '../../log/report.ts';
import type { SharedLog } from '../../log/shared-log.ts';
import { type Tables, tablesOf } from '../../log/tables.ts';
import { PlainTokens, type Tokens } from '../../log/tokens.ts';
import type { BrokerPartition, Entry, Following, PartitionState } from '../broker-partition.ts';
import { Freshness } from '../freshness.ts';
import { KnownLag } from '../known-lag.ts';
import { Appends } from './appends.ts';
import { Coming } from './coming.ts';
import { Directory } from './directory.ts';
import { nodeBytes } from './entry.ts';
import { Fold } from './fold.ts';
import { History } from './history.ts';
import { Judge } from './judge.ts';
import { Known } from './known.ts';
import { DamagedEntry, Pages } from './pages.ts';
import { Reads } from './reads.ts';

export interface BrokerLogOptions extends CommonLogOptions {
  readonly partition: BrokerPartition;
  /** Its number among those of the log. */
  readonly index: number;
  readonly capabilities: LogCapabilities;
  /** For people: `Kafka`. */
  readonly broker: string;
  /** Of one request to the broker, at most. */
  readonly requestBytes: number;
  /** A tail that has been silent for longer is stuck, ms. */
  readonly silenceMost: number;
  /** Closed with the log. */
  readonly live?: BrokerLive | undefined;
  /** Of records and their ages. What waits for the broker waits in real time. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

export interface BrokerLive extends LiveChannel {
  close(): Promise<void>;
}

/** How long a close waits for what is being appended, ms. */
const closeTimeout = 3000;
const pauseAfterError = 500;

/** Opens the log that lives in a partition of a broker. Rejects when the partition does not open. */
export async function openBrokerLog(options: BrokerLogOptions): Promise<BrokerLog> {
  const log = new BrokerLog(options);
  try {
    await log.start();
  } catch (error) {
    await log.close();
    throw error;
  }
  return log;
}

/**
 * A log that several nodes share: an ordered sequence of entries in a broker that knows nothing of what they mean. Each node
 * reads all of them in the same order and decides alike which of them count.
 *
 *    append ──► judged ──► one request ──► partition ──► tail of each node ──► verdicts ──► hot tail ──► listeners,
 *                                             │                                              then the append settles
 *                                             └──► reads by range, for what is older than the hot tail
 */
export class BrokerLog implements Log {
  readonly capabilities: LogCapabilities;
  readonly hot: HotTail;
  readonly tables: Tables;
  readonly deletions: Deletions = new Deletions();
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly live: BrokerLive | undefined;
  readonly shared: SharedLog;
  readonly probes: readonly EngineProbe[];
  lost: OffsetRange[] = [];
  rewinds = 0;
  removals = 0;
  readonly #options: BrokerLogOptions;
  readonly #partition: BrokerPartition;
  readonly #known = new Known();
  readonly #lag: KnownLag;
  readonly #judge: Judge;
  readonly #appends: Appends;
  readonly #pages: Pages;
  readonly #reads: Reads;
  readonly #directory = new Directory(0);
  readonly #listeners = new Set<TailListener>();
  readonly #fold: Fold;
  #following: Following | undefined;
  readonly #history: History;
  readonly #coming = new Coming();
  readonly #freshness: Freshness<PartitionState>;
  #isRewinding = false;
  /** The broker cannot be followed just now. */
  #away = false;
  #closing: Promise<void> | undefined;
  #damages = 0;

  constructor(options: BrokerLogOptions) {
    const { partition, clock = systemClock } = options;
    this.#options = options;
    this.#partition = partition;
    this.capabilities = options.capabilities;
    this.live = options.live;
    const node = (options.random ?? systemRandom).id(nodeBytes);
    // what was removed does not come any more
    const reached = (): number => Math.max(this.#known.offset, this.#known.floor);
    this.#lag = new KnownLag(String(options.index), systemClock, reached);
    this.shared = { nodes: undefined, groups: undefined, tails: [this.#lag] };
    this.hot = new HotTail(options.hotBytes ?? logDefaults.hotBytes, 0);
    this.tables = tablesOf(options.keep?.rules ?? []);
    this.#judge = new Judge(options, new KeyIndex(this, options.keyIndexBytes ?? logDefaults.keyIndexBytes));
    this.#appends = new Appends({
      partition,
      clock: systemClock,
      known: this.#known,
      judge: this.#judge,
      node,
      time: () => Math.max(clock.now(), this.#known.time),
      requestBytes: options.requestBytes,
      onHead: head => this.#lag.toldOf(head),
      bytesMax: options.pending?.bytes ?? logDefaults.pending.bytes,
      recordsMax: options.pending?.records ?? logDefaults.pending.records,
      onCommit: (duration, records, bytes) => options.onCommitStats?.(duration, records, bytes),
      onError: error => this.#tell((error as Error).message),
    });
    this.#fold = new Fold({
      partition,
      clock,
      dedupe: options.dedupe ?? {},
      known: this.#known,
      hot: this.hot,
      judge: this.#judge,
      directory: this.#directory,
      node,
      onOwn: (number, verdict, offset, time) => this.#appends.arrived(number, verdict, offset, time),
      onDamage: offset => this.#damaged(offset),
    });
    this.#pages = new Pages(partition, this.#known);
    this.#reads = new Reads({
      partition,
      pages: this.#pages,
      known: this.#known,
      hot: this.hot,
      directory: this.#directory,
    });
    this.#freshness = new Freshness({
      clock: systemClock,
      ask: async () => {
        const state = await partition.state();
        this.#lag.toldOf(state.head);
        return state;
      },
      reached: ({ head, floor }) =>
        Math.max(this.#known.offset, floor) >= head ? Promise.resolve() : this.#coming.to(head),
    });
    this.#history = new History({ reads: this.#reads, directory: this.#directory, ended: this.#judge.ended });
    this.probes = [
      { name: 'round trip', slowMs: 500, run: () => partition.probe() },
      { name: 'tail', slowMs: 200, run: async () => this.#tailGetsOn() },
    ];
  }

  /** Reads where the log stands and its newest records, and begins to follow. */
  async start(): Promise<void> {
    await this.#begin(await this.#partition.open());
    this.#following = this.#partition.follow(this.#known.offset, {
      onEntries: (entries, head) => this.#take(entries, head),
      onState: state => {
        this.#isBack();
        this.#compare(state);
      },
      onTrouble: reason => this.#isAway(reason),
    });
    this.#history.start();
  }

  get id(): string {
    return this.#known.id;
  }

  get head(): Position {
    return this.#known.head;
  }

  get floor(): number {
    return Math.min(this.#known.floor, this.head.offset);
  }

  get status(): LogStatus {
    return {
      state: this.#closing !== undefined ? 'closed' : this.#appends.refused !== undefined ? 'full' : 'open',
      reason: this.#appends.refused,
      segments: 0,
      bytes: this.#known.bytes,
      pendingRecords: this.#appends.pendingRecords,
      pendingBytes: this.#appends.pendingBytes,
      commits: this.#appends.commits,
      retentionWaitingBytes: 0,
      deletionsPending: 0,
      damagedReads: this.#damages,
      scrub: { bytes: 0, damages: 0, progress: 0 },
    };
  }

  get memory(): LogMemory {
    return this.#judge.memory;
  }

  append(messages: readonly Message[], _: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    return this.#appends.append(messages);
  }

  tail(listener: TailListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const from = Math.max(after, this.floor);
    const end = Math.max(from, Math.min(to, this.head.offset));
    const slice = await this.#reads.read(from, end, filters, maxBytes);
    return { ...slice, dropped: this.deletions.droppedAfter(slice.after, filters) };
  }

  droppedAfter(after: number, filters: FilterSet): Dropped {
    return this.deletions.droppedAfter(after, filters);
  }

  async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const found = await this.#reads.newest(filters, count, to);
    return Float64Array.from([...found.values()].flat()).sort();
  }

  current(filters: FilterSet, to?: Position): Promise<Current> {
    return currentOf(
      {
        log: this,
        tables: this.tables,
        index: this.#judge.keys,
        appended: () => this.head.offset,
        newest: (asked, upTo) => this.#reads.newest(asked, 1, upTo),
      },
      filters,
      to,
    );
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.#judge.keys.committedOf(topic, key, this.head.offset);
  }

  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    return this.#reads.recordsAt(offsets, maxBytes);
  }

  async positionAt(time: number): Promise<Position> {
    const first = await this.#reads.firstSince(time);
    return first === undefined ? this.head : this.positionOf(Math.min(first - 1, this.head.offset));
  }

  async positionOf(offset: number): Promise<Position> {
    return { epoch: this.epochOf(offset), offset, time: await this.#reads.timeAt(offset) };
  }

  endOf(epoch: number): number | undefined {
    return this.#known.epochs.endOf(epoch, this.#known.offset);
  }

  upToDate(): Promise<void> {
    return this.#freshness.upToDate();
  }

  endedAt(topic: string): number {
    return this.#judge.ended.endOf(topic);
  }

  epochOf(offset: number): number {
    return this.#known.epochs.epochOf(offset);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.#reads.topics(prefix, after, limit);
  }

  async trim(offset: number): Promise<void> {
    await this.#partition.trim(Math.min(offset, this.head.offset));
    const state = await this.#partition.state();
    if (state.id === this.id) this.#raiseFloor(state.floor);
  }

  async deleteTopic(topic: string): Promise<Deleted> {
    throw new TailraceError(
      'unsupported',
      `topic ${JSON.stringify(topic)} cannot be deleted: ${this.#options.broker} removes records by their age only`,
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#history.stop();
    // what the broker does not take any more is not waited for
    const stopWatch = systemClock.after(closeTimeout, () => this.#appends.abandon());
    await this.#appends.close();
    stopWatch();
    await this.#following?.close();
    await Promise.all([this.#partition.close(), this.live?.close()]);
  }

  #take(entries: readonly Entry[], head: number): void {
    if (this.#isRewinding) return;
    this.#lag.toldOf(head);
    this.#fold.take(entries, batch => {
      for (const listener of this.#listeners) listener.onCommit(batch);
    });
    this.#coming.look(this.#known.offset);
  }

  async #begin(state: PartitionState): Promise<void> {
    this.#pages.clear();
    await this.#fold.begin(state);
    this.#lag.told(state.head);
  }

  #compare(state: PartitionState): void {
    if (this.#isRewinding) return;
    // what was removed before this node read it is missed by all that listen
    if (this.#known.isLost(state) || this.#known.offset < state.floor) {
      this.#isRewinding = true;
      void this.#rewind(state);
      return;
    }
    const before = this.#known.epochs.current;
    this.#known.take(state);
    this.#lag.told(state.head);
    if (before?.epoch !== this.#known.epochs.current?.epoch)
      for (const listener of this.#listeners) listener.onEpoch?.();
    this.#raiseFloor(state.floor);
  }

  /** What this node has read is not the log any more: it begins anew. */
  async #rewind(told: PartitionState): Promise<void> {
    const { head, id } = this;
    const isLost = this.#known.isLost(told);
    this.#history.stop();
    for (let state = told; ; ) {
      try {
        await this.#begin(state);
        break;
      } catch (error) {
        if (this.#closing !== undefined) return;
        this.#tell((error as Error).message);
        await new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve));
        state = await this.#partition.state().catch(() => state);
      }
    }
    const end = Math.min(this.endOf(head.epoch) ?? 0, head.offset);
    const kept = this.id === id ? end : 0;
    this.rewinds++;
    if (isLost || kept < head.offset) this.#tellLost(head, kept);
    else this.#tellOvertaken(head.offset);
    for (const listener of this.#listeners) listener.onRewind?.();
    this.#isRewinding = false;
    this.#following?.goBack(this.#known.offset);
    this.#appends.rewound(this.#known.floor);
    this.#history.start();
  }

  #tellLost(head: Position, kept: number): void {
    this.#options.onReport?.({
      level: 'error',
      kind: 'engine_rewound',
      message:
        `${this.#options.broker} lost the newest records: this node had read up to offset ${head.offset} of epoch ` +
        `${head.epoch}, and the log goes on behind ${kept} (a replica that had less took over, or the last writes were ` +
        'not on disk, or it was made anew). All subscribers come back by their cursors and are told',
      lost: [{ from: kept + 1, to: head.offset }],
    });
  }

  #tellOvertaken(offset: number): void {
    this.#options.onReport?.({
      level: 'warn',
      kind: 'engine_rewound',
      message:
        `${this.#options.broker} removed records before this node had read them: it had come to offset ${offset}, and the ` +
        `log begins behind ${this.floor} (retention is short, or this node stood still). All subscribers come back by ` +
        'their cursors and are told',
    });
  }

  #raiseFloor(floor: number): void {
    if (floor < this.#known.floor) return;
    if (floor > this.#known.floor) this.removals++;
    this.#known.floor = floor;
    const reached = this.floor;
    this.hot.trim(reached);
    this.#judge.ended.trim(reached);
    this.#directory.trim(reached);
  }

  #tailGetsOn(): void {
    const silence = this.#following?.silence ?? 0;
    if (silence > this.#options.silenceMost)
      throw new Error(`its reads have had no answer for ${Math.round(silence)} ms`);
  }

  #damaged(offset: number): void {
    this.#damages++;
    this.lost = [...this.lost, { from: offset, to: offset }];
    this.#options.onReport?.({ level: 'error', kind: 'damaged', message: new DamagedEntry(offset).message });
  }

  #isAway(reason: string): void {
    if (this.#away) return;
    this.#away = true;
    this.#options.onReport?.({
      level: 'warn',
      kind: 'engine_lost',
      message:
        `${this.#options.broker} is lost: ${reason}. It is tried again until it answers; what is published waits, ` +
        'subscribers stay',
    });
  }

  #isBack(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#options.onReport?.({ level: 'info', kind: 'engine_back', message: `${this.#options.broker} is back` });
  }

  #tell(message: string): void {
    this.#options.onReport?.({
      level: 'error',
      kind: 'engine_error',
      message: `${this.#options.broker} answers with an error: ${message}`,
    });
  }
}
