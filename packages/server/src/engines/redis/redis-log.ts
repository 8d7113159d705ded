import { type Message, TailraceError } from '@tailrace/protocol';
import { capabilitiesOf, type LogCapabilities } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { EndedTopics } from '../../log/ended-topics.ts';
import { EpochList } from '../../log/epoch-list.ts';
import { KeyIndex } from '../../log/key-index.ts';
import type { Appended, AppendFailure, Deleted, EngineProbe, Log, LogMemory, LogStatus } from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { type Places, PlainPlaces } from '../../log/places.ts';
import { type Random, systemRandom } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import type { LogReport } from '../../log/report.ts';
import type { SharedLog } from '../../log/shared-log.ts';
import { PlainTokens, type Tokens } from '../../log/tokens.ts';
import { withoutPassword } from '../../log/without-password.ts';
import { FollowedLog, type FollowedParts } from '../followed-log.ts';
import { Freshness } from '../freshness.ts';
import { KnownLag } from '../known-lag.ts';
import { LedgerGroups } from '../ledger-groups.ts';
import { nodeBytes } from '../numbered-messages.ts';
import { type PackedRecord, packedBatch } from '../packed-record.ts';
import { allLost, newestLost } from '../rewind-reports.ts';
import { isCluster } from './address.ts';
import { Appends } from './appends.ts';
import { Arrivals } from './arrivals.ts';
import { RedisConnection } from './connection.ts';
import type { DeletionNote } from './entry.ts';
import { Erasure } from './erasure.ts';
import { Keys } from './keys.ts';
import { KnownLog } from './known-log.ts';
import { RedisLive } from './live.ts';
import { Probes } from './probes.ts';
import { Reads } from './reads.ts';
import { RedisGroups } from './redis-groups.ts';
import { RedisNodes } from './redis-nodes.ts';
import { replicated } from './replicated.ts';
import { Retention } from './retention.ts';
import { markDeleted } from './scripts/delete.ts';
import { readStatus, type Status, status as statusScript } from './scripts/status.ts';
import { judgeServer } from './server-settings.ts';
import { Tail } from './tail.ts';

export interface RedisLogOptions extends CommonLogOptions {
  /** See `readAddress` and `readClusterAddress`. */
  readonly url: string;
  /** What the names of its keys begin with; one log for each. */
  readonly name?: string | undefined;
  /** Its number among those of a log in several streams. */
  readonly partition?: number | undefined;
  /** Replicas that must have a batch before it is acked. */
  readonly replicas?: number | undefined;
  /** Class that the server must be able to keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  /** How far this machine's clock may be from the server's before the server's counts, ms. */
  readonly clockSkew?: number | undefined;
  /** How long the start waits for the server, ms. */
  readonly startTimeout?: number | undefined;
  /** Of records and their ages. What waits for the server waits in real time. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
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
  readonly #writer: RedisConnection;
  readonly #follower: RedisConnection;
  readonly #reader: RedisConnection;
  readonly #listener: RedisConnection;
  readonly #appends: Appends;
  readonly #tail: Tail;
  readonly #nodes: RedisNodes;
  readonly #lag: KnownLag;
  readonly #probes: Probes;
  readonly #reads: Reads;
  readonly #erasure: Erasure;
  readonly #retention: Retention;
  readonly #keyIndex: KeyIndex;
  readonly #ended: EndedTopics;
  readonly #arrivals: Arrivals;
  readonly #freshness: Freshness<Status>;
  #following: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #damages = 0;

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
      ask: () => this.#askStatus(this.#reader),
      reached: ({ epochs, head }) => this.#arrivals.reached(new EpochList(epochs).epochOf(head), head),
    });
    const connect = (role: string, told: (report: LogReport) => void): RedisConnection =>
      new RedisConnection(options.url, this.#keys.log, role, told);
    // they come and go together: one of them tells
    this.#follower = connect('tail', report);
    this.#writer = connect('writer', () => {});
    this.#reader = connect('reader', () => {});
    this.#listener = connect('listener', () => {});
    this.live = new RedisLive({
      sender: this.#writer,
      receiver: this.#listener,
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
      connection: this.#writer,
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
    this.#tail = new Tail({
      connection: this.#follower,
      clock: systemClock,
      stream: this.#keys.log,
      known: this.#known,
      askStatus: () => this.#askStatus(this.#follower),
      onStatus: told => this.#compare(told),
      onRecords: records => this.#commit(records),
      onNote: note => this.#noteDeletion(note),
      onProbe: said => this.#probes.found(said),
      onDamage: (offset, error) => this.#damaged(offset, error),
      onError,
    });
    this.#probes = new Probes({
      connection: this.#writer,
      keys: this.#keys,
      known: () => this.#knownArguments(),
      tail: this.#tail,
      onHead,
      node,
    });
    this.#reads = new Reads({
      connection: this.#reader,
      clock: systemClock,
      keys: this.#keys,
      known: this.#known,
      hot: this.hot,
      deletions: this.deletions,
    });
    this.#erasure = new Erasure({ connection: this.#reader, clock: systemClock, keys: this.#keys, onError });
    const ledgers = new RedisGroups({
      connect: () => connect('groups', () => {}),
      clock: systemClock,
      keys: this.#keys,
      node,
      // deadlines are the server's to judge: clocks of nodes differ
      known: () => this.#knownArguments(options.clockSkew ?? 0),
      replicated: redis => replicated(redis, options.replicas ?? 0),
    });
    this.groups = new LedgerGroups({ ledgers, clock: systemClock, log: this });
    this.#nodes = new RedisNodes({
      connection: this.#writer,
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
      connection: this.#reader,
      clock,
      keys: this.#keys,
      known: () => this.#knownArguments(),
      age: options.retention?.age,
      bytes: options.retention?.bytes,
      onFloor: floor => this.#raiseFloor(floor),
      onError,
    });
  }

  /** Reads where the log stands and its newest records, and begins to follow. */
  async start(timeout: number): Promise<void> {
    const connections = [this.#writer, this.#follower, this.#reader, this.#listener];
    const stopWatch = systemClock.after(timeout, () => {
      for (const connection of connections) connection.close();
    });
    try {
      await Promise.all(connections.map(connection => connection.ready()));
      const { replicas = 0, durability } = this.#options;
      const durabilities = await judgeServer(this.#reader.redis, { replicas, durability });
      this.capabilities = { ...capabilitiesOf.redis, durabilities };
      const told = await this.#askStatus(this.#reader);
      this.#begin(told);
      const { ended, deleted } = await this.#marks();
      this.#takeMarks(ended, deleted);
      await this.#preload();
      await this.live.ready();
    } catch (error) {
      if (error instanceof TailraceError) throw error;
      const { lastError } = connections.find(connection => connection.lastError !== '') ?? this.#reader;
      const why = lastError || (error as Error).message || 'it did not answer in time';
      throw new Error(
        `the log cannot be opened: Redis at ${withoutPassword(this.#options.url)} does not serve it: ${why}`,
      );
    } finally {
      stopWatch();
    }
    this.#following = this.#tail.run();
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

  async deleteTopic(topic: string): Promise<Deleted> {
    this.deletions.checkRoom();
    const args = [...this.#knownArguments(), topic, this.tables.has(topic) ? '1' : '0'];
    if (!this.#writer.isReady)
      throw new TailraceError('engine_unavailable', `Redis does not answer: ${this.#writer.lastError}`, {
        retryAfter: 1000,
      });
    const answer = (await this.#writer.ask(redis => markDeleted.run(redis, this.#keys.all, args))) as Buffer[];
    if (answer.length === 0) {
      const upTo = this.#erasure.upTo(topic);
      return upTo === undefined
        ? { upTo: undefined, pending: false }
        : { upTo: { epoch: this.epochOf(upTo), offset: upTo, time: this.#known.time }, pending: true };
    }
    const upTo = Number(answer[0]);
    const position = { epoch: this.epochOf(upTo), offset: upTo, time: Number(answer[1]) };
    await this.#noted(topic, upTo);
    return { upTo: position, pending: true };
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
    const stopWatch = systemClock.after(this.#writer.isReady ? closeTimeout : 0, () => this.#abandon());
    this.#arrivals.look();
    await this.#appends.close();
    await this.#nodes.close();
    stopWatch();
    this.#tail.close();
    for (const connection of [this.#writer, this.#follower, this.#reader, this.#listener]) connection.close();
    await this.#following;
  }

  #abandon(): void {
    this.#appends.abandon();
    this.#arrivals.abandon();
  }

  #knownArguments(skew: number = this.#options.clockSkew ?? clockSkewDefault): (string | number)[] {
    const { id, epochs, offset, time } = this.#known;
    return [id, epochs.current?.epoch ?? 0, offset, time, this.#clock.now(), skew];
  }

  async #askStatus(connection: RedisConnection): Promise<Status> {
    return readStatus(await statusScript.run(connection.redis, this.#keys.all, this.#knownArguments()));
  }

  #begin(told: Status): void {
    this.#known.take(told);
    this.#known.goBack(told.head, told.time);
    this.#known.floor = told.floor;
    this.hot.base = told.head;
  }

  async #preload(): Promise<void> {
    const budget = Math.min(preloadBytes, this.hot.maxBytes / 2);
    const records = await this.#reads.before(this.#known.offset, budget);
    if (records.length === 0) return;
    this.hot.base = records[0]!.offset - 1;
    this.hot.push(packedBatch(records));
  }

  #commit(records: readonly PackedRecord[]): void {
    const batch = packedBatch(records);
    const last = records[records.length - 1]!;
    this.hot.push(batch);
    this.#known.offset = last.offset;
    this.#known.time = last.time;
    this.#keyIndex.committed(batch);
    for (let i = 0; i < batch.count; i++) {
      if (!batch.endsTopic(i)) continue;
      this.#ended.add(batch.topics.names[batch.topics.of(i)]!, batch.offsetAt(i));
    }
    this.committed(batch);
    this.#arrivals.look();
  }

  #noteDeletion({ topic, upTo, table }: DeletionNote): void {
    this.hot.remove(topic, upTo);
    this.#ended.forget(topic, upTo);
    this.#keyIndex.deleted(topic, upTo);
    this.deletions.add({ topic, upTo, table });
    this.#erasure.add(topic, upTo);
    this.#arrivals.look();
  }

  async #noted(topic: string, upTo: number): Promise<void> {
    const { rewinds } = this;
    while ((this.deletions.byTopic.get(topic)?.upTo ?? 0) < upTo && this.floor < upTo && this.#closing === undefined) {
      if (this.rewinds !== rewinds)
        throw new TailraceError('outcome_unknown', 'Redis lost its newest records meanwhile; delete the topic again', {
          retryAfter: 100,
        });
      await this.#arrivals.next();
    }
  }

  async #compare(told: Status): Promise<void> {
    const before = this.#known.epochs.current;
    const { head } = this;
    const isEmptied = before !== undefined && !told.epochs.some(({ epoch }) => epoch === before.epoch);
    const kept = this.#known.rewindBy(told);
    if (isEmptied && kept === undefined) this.#options.onReport?.(allLost('Redis', head));
    if (kept === undefined) this.#known.take(told);
    else await this.#rewind(kept, told);
    if (before?.epoch !== this.#known.epochs.current?.epoch) this.epochBegan();
    this.#raiseFloor(told.floor);
    this.#lag.told(told.head);
    this.#arrivals.look();
  }

  /** What lies beyond `offset` is lost: the server has gone on without it. */
  async #rewind(offset: number, told: Status): Promise<void> {
    const { head } = this;
    const time = await this.#reads.timeBefore(offset);
    const { ended, deleted } = await this.#marks();
    this.#known.take(told);
    this.#known.goBack(offset, time);
    this.#known.floor = told.floor;
    this.hot.reset(offset);
    this.#keyIndex.clear();
    this.#ended.clear();
    this.deletions.forget(() => true);
    this.#takeMarks(ended, deleted);
    this.rewinds++;
    this.#options.onReport?.(newestLost('Redis', head, offset));
    this.wentBack();
  }

  /** Topics that ended or were deleted, as the server has them. */
  async #marks(): Promise<{ ended: Record<string, string>; deleted: Record<string, string> }> {
    const { redis } = this.#reader;
    const [ended, deleted] = await Promise.all([redis.hgetall(this.#keys.ended), redis.hgetall(this.#keys.deleted)]);
    return { ended, deleted };
  }

  #takeMarks(ended: Record<string, string>, deleted: Record<string, string>): void {
    for (const [topic, offset] of Object.entries(ended).sort(byOffset)) this.#ended.add(topic, Number(offset));
    for (const [topic, mark] of Object.entries(deleted)) {
      const [upTo, table, pending] = mark.split(' ');
      this.deletions.add({ topic, upTo: Number(upTo), table: table === '1' });
      if (pending === '1') this.#erasure.add(topic, Number(upTo));
    }
  }

  #raiseFloor(floor: number): void {
    if (floor < this.#known.floor) return;
    if (floor > this.#known.floor) this.removals++;
    this.#known.floor = floor;
    const reached = this.floor;
    this.hot.trim(reached);
    this.#ended.trim(reached);
    this.deletions.forget(({ upTo }) => upTo <= reached);
  }

  #damaged(offset: number, error: TailraceError): void {
    this.#damages++;
    this.lost = [...this.lost, { from: offset, to: offset }];
    this.#options.onReport?.({ level: 'error', kind: 'damaged', message: error.message });
  }

  #tell(error: unknown): void {
    this.#options.onReport?.({
      level: 'error',
      kind: 'engine_error',
      message: `Redis answers with an error: ${(error as Error).message}`,
    });
  }
}

function byOffset([, a]: [string, string], [, b]: [string, string]): number {
  return Number(a) - Number(b);
}
