import { type FilterSet, filterSet, type Message, TailraceError } from '@tailrace/protocol';
import type { LogCapabilities } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { EndedTopics } from '../../log/ended-topics.ts';
import { KeyIndex } from '../../log/key-index.ts';
import type {
  Appended,
  AppendFailure,
  Deleted,
  EngineProbe,
  Log,
  LogMemory,
  LogStatus,
  Position,
  TopicInfo,
} from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { type Places, PlainPlaces } from '../../log/places.ts';
import { bridgedTopic } from '../../log/refusals.ts';
import type { LogReport } from '../../log/report.ts';
import type { SharedLog } from '../../log/shared-log.ts';
import { PlainTokens, type Tokens } from '../../log/tokens.ts';
import { Coming } from '../broker/coming.ts';
import { Directory } from '../broker/directory.ts';
import { Known } from '../broker/known.ts';
import { Reads } from '../broker/reads.ts';
import type { BrokerPartition, Entry, Following, PartitionState } from '../broker-partition.ts';
import { FollowedLog, type FollowedParts } from '../followed-log.ts';
import { Freshness } from '../freshness.ts';
import { KnownLag } from '../known-lag.ts';
import { packedBatch } from '../packed-batch.ts';
import { newestLost } from '../rewind-reports.ts';
import { BridgedPages } from './bridged-pages.ts';
import { TopicList } from './topic-list.ts';

/** What is read of a partition to which others write. Its entries are packed records, and all of them count. */
export type BridgedSource = Omit<BrokerPartition, 'append' | 'trim'>;

export interface BridgedLogOptions extends CommonLogOptions {
  readonly partition: BridgedSource;
  /** For people: `orders/0`. */
  readonly name: string;
  /** The one topic that it has, where no key is part of it. */
  readonly topic: string | undefined;
  readonly clock?: Clock | undefined;
}

const capabilities: LogCapabilities = {
  durabilities: [],
  shared: true,
  keeps: false,
  deletes: false,
  groups: false,
  trims: 'records',
};
/** Of what the tail brings, about so much is one batch. */
const batchBytes = 1024 * 1024;

/**
 * A partition of another system as a log that is only read: history by range, and the newest records from the tail, from
 * where the partition stands at the start.
 */
export class BridgedLog extends FollowedLog implements Log {
  readonly capabilities: LogCapabilities = capabilities;
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly live: undefined;
  readonly shared: SharedLog;
  readonly probes: readonly EngineProbe[];
  readonly #options: BridgedLogOptions;
  readonly #partition: BridgedSource;
  readonly #clock: Clock;
  readonly #known = new Known();
  readonly #directory = new Directory(0);
  readonly #ended = new EndedTopics(1);
  readonly #keys: KeyIndex;
  readonly #reads: Reads;
  readonly #topics: TopicList;
  readonly #lag: KnownLag;
  readonly #coming = new Coming();
  readonly #freshness: Freshness<PartitionState>;
  #following: Following | undefined;
  /** It cannot be followed just now. */
  #away = false;
  #closed = false;

  constructor(options: BridgedLogOptions) {
    super(options);
    const { partition, clock = systemClock } = options;
    this.#options = options;
    this.#partition = partition;
    this.#clock = clock;
    this.#keys = new KeyIndex(this, options.keyIndexBytes ?? logDefaults.keyIndexBytes);
    const pages = new BridgedPages(partition);
    const known = this.#known;
    this.#reads = new Reads({ partition, pages, known, hot: this.hot, directory: this.#directory });
    this.#topics = new TopicList({ pages, known, directory: this.#directory });
    this.#lag = new KnownLag(options.name, systemClock, () => this.#reached);
    this.shared = { nodes: undefined, groups: undefined, tails: [this.#lag] };
    this.probes = [{ name: 'round trip', slowMs: 500, run: () => partition.probe() }];
    this.#freshness = new Freshness({
      clock: systemClock,
      ask: () => partition.state(),
      reached: ({ head }) => (this.#reached >= head ? Promise.resolve() : this.#coming.to(head)),
    });
  }

  /** Asks where the partition stands, and begins to follow it from there. */
  async start(): Promise<void> {
    this.#begin(await this.#partition.open());
    this.#following = this.#partition.follow(this.#known.offset, {
      onEntries: (entries, head, end) => this.#take(entries, head, end!),
      onState: state => {
        this.#isBack();
        this.#compare(state);
      },
      onTrouble: reason => this.#isAway(reason),
    });
  }

  protected get parts(): FollowedParts {
    return { known: this.#known, reads: this.#reads, keys: this.#keys, ended: this.#ended };
  }

  get status(): LogStatus {
    return {
      state: this.#closed ? 'closed' : 'open',
      reason: undefined,
      segments: 0,
      bytes: this.#known.bytes,
      pendingRecords: 0,
      pendingBytes: 0,
      commits: 0,
      retentionWaitingBytes: 0,
      deletionsPending: 0,
      damagedReads: 0,
      scrub: { bytes: 0, damages: 0, progress: 0 },
    };
  }

  get memory(): LogMemory {
    return {
      ids: 0,
      producers: 0,
      idsCutShort: 0,
      producersCutShort: 0,
      endedTopics: 0,
      endedCutShort: 0,
      tables: this.#keys.tables,
      tableBytes: this.#keys.bytes,
      tableLoads: this.#keys.loads,
    };
  }

  append(messages: readonly Message[]): Promise<readonly (Appended | AppendFailure)[]> {
    return Promise.reject(bridgedTopic(messages[0]?.topic ?? ''));
  }

  upToDate(): Promise<void> {
    return this.#freshness.upToDate();
  }

  override async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    return super.newest(await this.#sought(filters), count, to);
  }

  override async current(filters: FilterSet, to?: Position): ReturnType<FollowedLog['current']> {
    return super.current(await this.#sought(filters), to);
  }

  override async topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const { topic } = this.#options;
    if (topic === undefined) {
      await this.#topics.learn();
      return super.topics(prefix, after, limit);
    }
    if (!topic.startsWith(prefix) || topic <= after || limit === 0) return [];
    const [record] = await this.recordsAt(await this.newest(filterSet([topic]), 1, this.head.offset), 1);
    return record === undefined ? [] : [{ topic, lastOffset: record.offset, lastTime: record.time }];
  }

  /** Times may fall from one record to the next: only who holds them all can say which is the first. */
  override async positionAt(time: number): Promise<Position> {
    const first = await this.#partition.firstSince(time);
    return first === undefined ? this.head : this.positionOf(Math.min(first - 1, this.head.offset));
  }

  async trim(): Promise<void> {}

  async deleteTopic(topic: string): Promise<Deleted> {
    throw new TailraceError(
      'unsupported',
      `topic ${JSON.stringify(topic)} comes from Kafka: delete it there, where it is kept`,
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#following?.close();
    await this.#partition.close();
  }

  /** How far all is known that there is. */
  get #reached(): number {
    return Math.max(this.#known.offset, this.#known.floor);
  }

  /** What is looked for, once it is known which topics there are. */
  async #sought(filters: FilterSet): Promise<FilterSet> {
    const { topic } = this.#options;
    if (topic !== undefined) return filterSet(filters.matches(topic) ? [topic] : []);
    const isKnown =
      filters.exact !== null && [...filters.exact].every(one => this.#directory.newest(one) !== undefined);
    if (!isKnown) await this.#topics.learn();
    return filters;
  }

  #begin(state: PartitionState): void {
    const known = this.#known;
    known.take(state);
    known.floor = state.floor;
    this.#beginAt(state.head);
    this.#lag.told(state.head);
  }

  /** What lies before is read by range. */
  #beginAt(offset: number): void {
    const known = this.#known;
    known.offset = offset;
    // nothing of it is read: what is there is not younger than now
    known.setHead(offset, offset > known.floor ? this.#clock.now() : 0);
    this.hot.reset(offset);
    this.#keys.clear();
    this.#topics.forget();
    this.#directory.clear(offset);
  }

  #take(
    entries: readonly Entry[],
    head: number,
    { next, missing }: { next: number; missing?: number | undefined },
  ): void {
    this.#lag.toldOf(head);
    // whoever follows comes back by a cursor, and is told of what is missing by a read
    if (missing !== undefined) {
      this.#beginAt(next);
      this.#wentBack();
    } else {
      for (let begin = 0; begin < entries.length; ) {
        const end = endOfBatch(entries, begin);
        this.#commit(entries.slice(begin, end));
        begin = end;
      }
      this.#known.offset = next;
    }
    this.#coming.look(next);
  }

  /** Hot. */
  #commit(entries: readonly Entry[]): void {
    const known = this.#known;
    const batch = packedBatch(entries);
    const { offset, time } = entries[entries.length - 1]!;
    known.offset = offset;
    known.time = Math.max(known.time, time);
    known.setHead(offset, time);
    this.hot.push(batch);
    this.#keys.committed(batch);
    this.#directory.take(batch);
    this.committed(batch);
  }

  #compare(state: PartitionState): void {
    const known = this.#known;
    const { head } = this;
    const isLost = known.isLost(state);
    if (isLost || known.offset < state.floor) {
      const kept = state.id === known.id ? Math.min(known.epochs.endOf(head.epoch, state.head) ?? 0, state.head) : 0;
      this.#begin(state);
      this.#options.onReport?.(
        isLost ? newestLost(`Kafka (${this.#options.name})`, head, kept) : this.#overtaken(head),
      );
      this.#wentBack();
      this.#following?.goBack(known.offset);
      return;
    }
    const before = known.epochs.current;
    known.take(state);
    this.#lag.told(state.head);
    if (before?.epoch !== known.epochs.current?.epoch) this.epochBegan();
    this.#raiseFloor(state.floor);
  }

  #wentBack(): void {
    this.rewinds++;
    this.wentBack();
  }

  #raiseFloor(floor: number): void {
    const known = this.#known;
    if (floor <= known.floor) return;
    this.removals++;
    known.floor = floor;
    this.hot.trim(this.floor);
    this.#directory.trim(this.floor);
  }

  #overtaken({ offset }: Position): LogReport {
    return {
      level: 'warn',
      kind: 'bridge_overtaken',
      message:
        `Kafka removed records of ${this.#options.name} before this node had read them: it had come to offset ${offset}, and ` +
        `they begin behind ${this.floor}. All subscribers come back by their cursors and are told`,
    };
  }

  #isAway(reason: string): void {
    if (this.#away) return;
    this.#away = true;
    this.#options.onReport?.({
      level: 'warn',
      kind: 'bridge_lost',
      message: `${this.#options.name} of Kafka is lost: ${reason}. It is tried again until it answers; subscribers stay`,
    });
  }

  #isBack(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#options.onReport?.({ level: 'info', kind: 'bridge_back', message: `${this.#options.name} of Kafka is back` });
  }
}

/** Index behind the last of those that make one batch. */
function endOfBatch(entries: readonly Entry[], begin: number): number {
  let end = begin;
  for (let bytes = 0; end < entries.length && bytes < batchBytes; end++) bytes += entries[end]!.bytes.length;
  return end;
}
