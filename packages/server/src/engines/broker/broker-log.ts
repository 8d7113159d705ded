import { type Message, TailraceError } from '@tailrace/protocol';
import type { LogCapabilities } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { KeyIndex } from '../../log/key-index.ts';
import type {
  Appended,
  AppendFailure,
  Deleted,
  EngineProbe,
  LiveChannel,
  Log,
  LogMemory,
  LogStatus,
} from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { type Places, PlainPlaces } from '../../log/places.ts';
import { type Random, systemRandom } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import type { SharedLog } from '../../log/shared-log.ts';
import { PlainTokens, type Tokens } from '../../log/tokens.ts';
import type { BrokerPartition, Entry, Following, PartitionState } from '../broker-partition.ts';
import { FollowedLog, type FollowedParts } from '../followed-log.ts';
import { Freshness } from '../freshness.ts';
import { KnownLag } from '../known-lag.ts';
import { LedgerGroups } from '../ledger-groups.ts';
import { News } from '../news.ts';
import { newestLost } from '../rewind-reports.ts';
import { Appends } from './appends.ts';
import { BrokerNodes } from './broker-nodes.ts';
import { Coming } from './coming.ts';
import { Directory } from './directory.ts';
import { nodeBytes } from './entry.ts';
import { Fold } from './fold.ts';
import { BrokerGroups } from './groups/broker-groups.ts';
import { type LedgerOptions, type LedgerReplicaParts, openLedger } from './groups/ledger-replica.ts';
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
  /** The partition in which groups are kept, made if it is missing. Its entries have the times of the broker. */
  readonly openLedger: () => Promise<BrokerPartition>;
  /** The partition in which nodes tell of each other, with the times of the broker; for one partition of the log. */
  readonly openNodes?: (() => Promise<BrokerPartition>) | undefined;
  readonly groups?: LedgerOptions | undefined;
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
export class BrokerLog extends FollowedLog implements Log {
  readonly capabilities: LogCapabilities;
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly live: BrokerLive | undefined;
  readonly groups: LedgerGroups;
  readonly shared: SharedLog;
  readonly probes: readonly EngineProbe[];
  readonly #options: BrokerLogOptions;
  readonly #partition: BrokerPartition;
  readonly #known = new Known();
  readonly #lag: KnownLag;
  readonly #nodes: BrokerNodes | undefined;
  readonly #judge: Judge;
  readonly #appends: Appends;
  readonly #pages: Pages;
  readonly #reads: Reads;
  readonly #directory = new Directory(0);
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
  readonly #news = new News(systemClock);

  constructor(options: BrokerLogOptions) {
    super(options);
    const { partition, clock = systemClock } = options;
    this.#options = options;
    this.#partition = partition;
    this.capabilities = options.capabilities;
    this.live = options.live;
    const node = (options.random ?? systemRandom).id(nodeBytes);
    // what was removed does not come any more
    const reached = (): number => Math.max(this.#known.offset, this.#known.floor);
    this.#lag = new KnownLag(String(options.index), systemClock, reached);
    this.groups = new LedgerGroups({
      ledgers: new BrokerGroups({
        openLedger: async () => openLedger(await this.#ledgerParts(node)),
        epochOf: offset => this.epochOf(offset),
      }),
      clock: systemClock,
      log: this,
    });
    this.#nodes = this.#nodesOf(node);
    this.shared = { nodes: this.#nodes, groups: this.groups, tails: [this.#lag] };
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

  protected get parts(): FollowedParts {
    const { keys, ended } = this.#judge;
    return { known: this.#known, reads: this.#reads, keys, ended };
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

  upToDate(): Promise<void> {
    return this.#freshness.upToDate();
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
    await Promise.all([this.#following?.close(), this.#nodes?.close()]);
    await Promise.all([this.groups.close(), this.#partition.close(), this.live?.close()]);
  }

  #nodesOf(node: string): BrokerNodes | undefined {
    const { openNodes, clock = systemClock } = this.#options;
    if (openNodes === undefined) return undefined;
    return new BrokerNodes({
      open: openNodes,
      clock: systemClock,
      wall: clock,
      node,
      head: () => this.#known.offset,
      lag: () => this.#lag.records,
      onError: error => this.#tell((error as Error).message),
    });
  }

  async #ledgerParts(node: string): Promise<LedgerReplicaParts> {
    const { openLedger, broker, groups } = this.#options;
    return {
      ...{ node, broker, ...groups },
      partition: await openLedger(),
      stand: () => ({ id: this.id, floor: this.floor, epochs: this.#known.epochs.starts }),
      onError: error => this.#tell((error as Error).message),
    };
  }

  #take(entries: readonly Entry[], head: number): void {
    if (this.#isRewinding) return;
    this.#lag.toldOf(head);
    this.#fold.take(entries, batch => this.committed(batch));
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
    if (before?.epoch !== this.#known.epochs.current?.epoch) this.epochBegan();
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
    if (isLost || kept < head.offset) this.#options.onReport?.(newestLost(this.#options.broker, head, kept));
    else this.#tellOvertaken(head.offset);
    this.wentBack();
    this.#isRewinding = false;
    this.#following?.goBack(this.#known.offset);
    this.#appends.rewound(this.#known.floor);
    this.#history.start();
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
    if (!this.#news.take(message)) return;
    this.#options.onReport?.({
      level: 'error',
      kind: 'engine_error',
      message: `${this.#options.broker} answers with an error: ${message}`,
    });
  }
}
