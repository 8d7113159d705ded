import { type Message, TailraceError } from '@tailrace/protocol';
import { capabilitiesOf, type LogCapabilities } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { EndedTopics } from '../../log/ended-topics.ts';
import { EpochList } from '../../log/epoch-list.ts';
import { KeyIndex } from '../../log/key-index.ts';
import type { Appended, AppendFailure, Deleted, EngineProbe, Log, LogMemory, LogStatus } from '../../log/log.ts';
import { logDefaults } from '../../log/options.ts';
import { type Places, PlainPlaces } from '../../log/places.ts';
import { systemRandom } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import type { LogReport } from '../../log/report.ts';
import type { SharedLog } from '../../log/shared-log.ts';
import { PlainTokens, type Tokens } from '../../log/tokens.ts';
import { FollowedLog, type FollowedParts } from '../followed-log.ts';
import { Freshness } from '../freshness.ts';
import { KnownLag } from '../known-lag.ts';
import { LedgerGroups } from '../ledger-groups.ts';
import { News } from '../news.ts';
import { notServed } from '../not-served.ts';
import { nodeBytes } from '../numbered-messages.ts';
import type { ServerLogOptions } from '../server-options.ts';
import { isCluster } from './address.ts';
import { Appends } from './appends.ts';
import { Arrivals } from './arrivals.ts';
import { RedisConnection } from './connection.ts';
import { Connections } from './connections.ts';
import { Deletion } from './deletion.ts';
import { Erasure } from './erasure.ts';
import { Keys } from './keys.ts';
import { KnownLog } from './known-log.ts';
import { RedisLive } from './live.ts';
import { NodeCopy } from './node-copy.ts';
import { Probes } from './probes.ts';
import { Reads } from './reads.ts';
import { RedisGroups } from './redis-groups.ts';
import { RedisNodes } from './redis-nodes.ts';
import { replicated } from './replicated.ts';
import { Retention } from './retention.ts';
import type { Status } from './scripts/status.ts';
import { judgeServer } from './server-settings.ts';
import { Standing } from './standing.ts';
import { Tail } from './tail.ts';
import { TailedStream } from './tailed-stream.ts';

export interface RedisLogOptions extends ServerLogOptions {
  /** Its number among those of a log in several streams. */
  readonly partition?: number | undefined;
  /** The reader that it shares with other logs on the same server; who gives it starts it, and the last of them closes it. */
  readonly tail?: Tail | undefined;
  /** Replicas that must have a batch before it is acked. */
  readonly replicas?: number | undefined;
  /** How far this machine's clock may be from the server's before the server's counts, ms. */
  readonly clockSkew?: number | undefined;
}

const clockSkewDefault = 2000;
export const startTimeoutDefault = 10_000;
/** How long a close waits for what is being appended, ms. */
const closeTimeout = 3000;
/** Of the newest records a start reads so many bytes: reconnecting clients find there what they missed. */
const preloadBytes = 8 * 1024 * 1024;

/**
 * Opens the log that lives in Redis under `name`, or begins it. Rejects when the server does not answer in time or must not
 * be used (`judgeServer`).
 */
export async function openRedisLog(options: RedisLogOptions): Promise<RedisLog> {
  const log = new RedisLog(options);
  try {
    await log.start(options.startTimeout ?? startTimeoutDefault);
  } catch (error) {
    await log.close();
    throw error;
  }
  return log;
}

/**
 * A log that several nodes share: a stream in Redis, to which scripts append, and which each node follows with one reader.
 *
 *    append ──► one batch ──► script ──► stream ──► tail of each node ──► hot tail ──► listeners, then the append settles
 *                                          │
 *                                          └──► reads by range, for what is older than the hot tail
 */
export class RedisLog extends FollowedLog implements Log {
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly live: RedisLive;
  readonly groups: LedgerGroups;
  readonly shared: SharedLog & { readonly nodes: RedisNodes };
  capabilities: LogCapabilities = capabilitiesOf.redis;
  readonly #options: RedisLogOptions;
  readonly #clock: Clock;
  readonly #keys: Keys;
  readonly #known: KnownLog;
  readonly #connections: Connections;
  readonly #appends: Appends;
  readonly #tail: Tail;
  readonly #stream: TailedStream;
  readonly #nodes: RedisNodes;
  readonly #lag: KnownLag;
  readonly #probes: Probes;
  readonly #reads: Reads;
  readonly #erasure: Erasure;
  readonly #deletion: Deletion;
  readonly #retention: Retention;
  readonly #copy: NodeCopy;
  readonly #standing: Standing;
  readonly #keyIndex: KeyIndex;
  readonly #ended: EndedTopics;
  readonly #arrivals: Arrivals;
  readonly #freshness: Freshness<Status>;
  #closing: Promise<void> | undefined;
  #damages = 0;
  readonly #news = new News(systemClock);

  constructor(options: RedisLogOptions) {
    super(options);
    this.#options = options;
    const clock = options.clock ?? systemClock;
    this.#clock = clock;
    const random = options.random ?? systemRandom;
    const node = random.id(nodeBytes);
    const label = options.partition === undefined ? '' : `partition ${options.partition}: `;
    const report = (told: LogReport): void => options.onReport?.({ ...told, message: `${label}${told.message}` });
    this.#keys = new Keys(options.name ?? 'tailrace');
    this.#known = new KnownLog(random.id(8));
    this.#lag = new KnownLag(String(options.partition ?? 0), systemClock, () => this.#known.offset);
    const onHead = (head: number): void => this.#lag.told(head);
    this.#arrivals = new Arrivals(this.#known);
    this.#freshness = new Freshness({
      clock: systemClock,
      ask: () => this.#standing.ask(),
      reached: ({ epochs, head }) => this.#arrivals.reached(new EpochList(epochs).epochOf(head), head),
    });
    this.#tail =
      options.tail ?? new Tail(new RedisConnection(options.url, this.#keys.log, 'tail', report), systemClock);
    this.#connections = new Connections(options.url, this.#keys.log, this.#tail.connection);
    const { writer, reader, listener } = this.#connections;
    this.live = new RedisLive({
      sender: writer,
      receiver: listener,
      clock: systemClock,
      channel: this.#keys.live,
      isSharded: isCluster(options.url),
      node,
    });
    this.#ended = new EndedTopics(options.endedTopics ?? logDefaults.endedTopics);
    this.#keyIndex = new KeyIndex(this, options.keyIndexBytes ?? logDefaults.keyIndexBytes);
    const { dedupe = {} } = options;
    const ids = dedupe.ids ?? logDefaults.dedupe.ids;
    const idLimit = Math.max(ids, dedupe.limit ?? logDefaults.dedupe.limit);
    const onError = (error: unknown): void => this.#tell(error);
    this.#appends = new Appends({
      connection: writer,
      clock: systemClock,
      keys: [...this.#keys.all, this.#keys.batchOf(node)],
      known: () => this.#knownArguments(),
      limits: [
        ids,
        dedupe.ageMs ?? logDefaults.dedupe.ageMs,
        idLimit,
        dedupe.producers ?? logDefaults.dedupe.producers,
      ],
      recordBytes: Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard),
      bytesMax: options.pending?.bytes ?? logDefaults.pending.bytes,
      recordsMax: options.pending?.records ?? logDefaults.pending.records,
      replicas: options.replicas ?? 0,
      reached: (epoch, offset) => {
        onHead(offset);
        return this.#arrivals.reached(epoch, offset);
      },
      onCommit: (duration, records, bytes) => options.onCommitStats?.(duration, records, bytes),
      onError,
    });
    this.#stream = new TailedStream({
      key: this.#keys.log,
      known: this.#known,
      askStatus: () => this.#standing.ask(this.#tail.connection),
      onStatus: async told => {
        await this.#standing.compare(told);
        onHead(told.head);
        this.#arrivals.look();
      },
      onRecords: batch => {
        this.#copy.take(batch);
        this.committed(batch);
        this.#arrivals.look();
      },
      onNote: note => {
        this.#copy.noteDeletion(note);
        this.#arrivals.look();
      },
      onProbe: said => this.#probes.found(said),
      onDamage: (offset, error) => this.#damaged(offset, error),
      onError,
    });
    this.#probes = new Probes({
      connection: writer,
      keys: this.#keys,
      known: () => this.#knownArguments(),
      tail: this.#tail,
      onHead,
      node,
    });
    this.#reads = new Reads({
      connection: reader,
      clock: systemClock,
      keys: this.#keys,
      known: this.#known,
      hot: this.hot,
      deletions: this.deletions,
    });
    this.#erasure = new Erasure({ connection: reader, clock: systemClock, keys: this.#keys, onError });
    this.#copy = new NodeCopy({
      known: this.#known,
      hot: this.hot,
      deletions: this.deletions,
      keys: this.#keyIndex,
      ended: this.#ended,
      erasure: this.#erasure,
      onRemoval: () => this.removals++,
    });
    this.#standing = new Standing({
      connection: reader,
      keys: this.#keys,
      known: this.#known,
      knownArguments: () => this.#knownArguments(),
      copy: this.#copy,
      reads: this.#reads,
      onReport: report,
      onEpoch: () => this.epochBegan(),
      onRewind: () => {
        this.rewinds++;
        this.wentBack();
      },
    });
    this.#deletion = new Deletion({
      connection: writer,
      keys: this.#keys,
      known: this.#known,
      knownArguments: () => this.#knownArguments(),
      tables: this.tables,
      deletions: this.deletions,
      erasure: this.#erasure,
      arrivals: this.#arrivals,
      rewinds: () => this.rewinds,
      isClosed: () => this.#closing !== undefined,
    });
    const ledgers = new RedisGroups({
      connect: () => new RedisConnection(options.url, this.#keys.log, 'groups', () => {}),
      clock: systemClock,
      keys: this.#keys,
      node,
      // deadlines are the server's to judge: clocks of nodes differ
      known: () => this.#knownArguments(options.clockSkew ?? 0),
      replicated: redis => replicated(redis, options.replicas ?? 0),
    });
    this.groups = new LedgerGroups({ ledgers, clock: systemClock, log: this });
    this.#nodes = new RedisNodes({
      connection: writer,
      clock: systemClock,
      wall: clock,
      keys: this.#keys,
      node,
      head: () => this.#known.offset,
      onHead,
      onError,
    });
    this.shared = { nodes: this.#nodes, groups: this.groups, tails: [this.#lag] };
    this.#retention = new Retention({
      connection: reader,
      clock,
      keys: this.#keys,
      known: () => this.#knownArguments(),
      age: options.retention?.age,
      bytes: options.retention?.bytes,
      onFloor: floor => this.#copy.raiseFloor(floor),
      onError,
    });
  }

  /** Reads where the log stands and its newest records, and begins to follow. */
  async start(timeout: number): Promise<void> {
    const stopWatch = systemClock.after(timeout, () => this.#connections.close());
    try {
      await this.#connections.ready();
      const { replicas = 0, durability } = this.#options;
      const durabilities = await judgeServer(this.#connections.reader.redis, { replicas, durability });
      this.capabilities = { ...capabilitiesOf.redis, durabilities };
      await this.#standing.begin(Math.min(preloadBytes, this.hot.maxBytes / 2));
      await this.live.ready();
    } catch (error) {
      if (error instanceof TailraceError) throw error;
      const why = this.#connections.lastError || (error as Error).message || 'it did not answer in time';
      throw notServed('Redis', this.#options.url, why);
    } finally {
      stopWatch();
    }
    this.#tail.join(this.#stream);
    if (this.#options.tail === undefined) this.#tail.start();
    this.#retention.start();
  }

  protected get parts(): FollowedParts {
    return { known: this.#known, reads: this.#reads, keys: this.#keyIndex, ended: this.#ended };
  }

  get probes(): readonly EngineProbe[] {
    return this.#probes.all;
  }

  get status(): LogStatus {
    return {
      state: this.#closing !== undefined ? 'closed' : this.#appends.refused !== undefined ? 'full' : 'open',
      reason: this.#appends.refused,
      segments: 0,
      bytes: this.#known.status?.bytes ?? 0,
      pendingRecords: this.#appends.pendingRecords,
      pendingBytes: this.#appends.pendingBytes,
      commits: this.#appends.commits,
      retentionWaitingBytes: 0,
      deletionsPending: this.#erasure.pending,
      damagedReads: this.#damages,
      scrub: { bytes: 0, damages: 0, progress: 0 },
    };
  }

  get memory(): LogMemory {
    const { ids = 0, producers = 0, idsCutShort = 0, producersCutShort = 0 } = this.#known.status ?? {};
    return {
      ids,
      producers,
      idsCutShort,
      producersCutShort,
      endedTopics: this.#ended.size,
      endedCutShort: this.#ended.cutShort,
      tables: this.#keyIndex.tables,
      tableBytes: this.#keyIndex.bytes,
      tableLoads: this.#keyIndex.loads,
    };
  }

  append(messages: readonly Message[], _: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    return this.#appends.append(messages);
  }

  upToDate(): Promise<void> {
    return this.#freshness.upToDate();
  }

  async trim(offset: number): Promise<void> {
    await this.#retention.trim(offset);
  }

  deleteTopic(topic: string): Promise<Deleted> {
    return this.#deletion.delete(topic);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.live.close();
    this.groups.close();
    this.#retention.close();
    this.#erasure.close();
    // what the server does not take any more is not waited for
    const stopWatch = systemClock.after(this.#connections.writer.isReady ? closeTimeout : 0, () => this.#abandon());
    this.#arrivals.look();
    await this.#appends.close();
    await this.#nodes.close();
    stopWatch();
    this.#connections.close();
    await this.#tail.leave(this.#stream);
  }

  #abandon(): void {
    this.#appends.abandon();
    this.#arrivals.abandon();
  }

  #knownArguments(skew: number = this.#options.clockSkew ?? clockSkewDefault): (string | number)[] {
    return this.#known.arguments(this.#clock.now(), skew);
  }

  #damaged(offset: number, error: TailraceError): void {
    this.#damages++;
    this.lost = [...this.lost, { from: offset, to: offset }];
    this.#options.onReport?.({ level: 'error', kind: 'damaged', message: error.message });
  }

  #tell(error: unknown): void {
    if (!this.#news.take((error as Error).message)) return;
    this.#options.onReport?.({
      level: 'error',
      kind: 'engine_error',
      message: `Redis answers with an error: ${(error as Error).message}`,
    });
  }
}
