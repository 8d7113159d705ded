import type { FilterSet, Message } from '@tailrace/protocol';
import type { LogCapabilities } from '../capabilities.ts';
import { Deletions } from '../deletions.ts';
import { HotTail } from '../hot-tail.ts';
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
} from '../log.ts';
import { logDefaults } from '../options.ts';
import type { Places } from '../places.ts';
import type { LogRecord, StoredDurability } from '../record.ts';
import type { RecordBatch } from '../record-batch.ts';
import type { OffsetRange } from '../report.ts';
import type { SharedLog } from '../shared-log.ts';
import type { Tables } from '../tables.ts';
import type { Tokens } from '../tokens.ts';
import { WovenAppends } from './appends.ts';
import { goingBack } from './going-back.ts';
import { WovenGroups } from './groups.ts';
import { WovenMap } from './map.ts';
import { addressOf, isWoven, type Vector, weaveFrom } from './numbering.ts';
import { partitionOf, partitionsFor } from './partition-of.ts';
import { WovenPlaces } from './places.ts';
import { WovenReads } from './reads.ts';
import { sumOfMemory, sumOfStatus } from './sums.ts';
import { WovenTokens } from './tokens.ts';
import { placed, WovenBatch } from './woven-batch.ts';

export interface WovenLogOptions {
  /** Memory of the newest records, bytes. */
  readonly hotBytes?: number | undefined;
  /** Batches of which the order is remembered; readers further behind begin anew by their cursors. */
  readonly runs?: number | undefined;
}

/**
 * One log out of several partitions, each of them a log. What comes from them while this node runs is woven into one
 * sequence in the order of its coming, so that everything above has one cursor to compare; tokens name an offset of each
 * partition, since the order is this node's own.
 *
 *   partition 0  ──a──────b──c───▶
 *                  ╲       ╲  ╲
 *   the weave    ───a──x────b──c──y──▶  hot tail, hub
 *                      ╱          ╱
 *   partition 1  ─────x──────────y───▶
 */
export class WovenLog implements Log {
  readonly hot: HotTail;
  readonly tokens: Tokens;
  readonly places: Places;
  readonly deletions: Deletions = new Deletions();
  readonly tables: Tables;
  readonly lost: readonly OffsetRange[] = [];
  readonly floor = 0;
  head: Position;
  rewinds = 0;
  readonly shared: SharedLog | undefined;
  readonly #partitions: readonly Log[];
  readonly #map: WovenMap;
  readonly #reads: WovenReads;
  readonly #appends: WovenAppends;
  readonly #listeners = new Set<TailListener>();
  readonly #untail: (() => void)[];

  /** `partitions` are open; two or more. They are closed with it. */
  constructor(partitions: readonly Log[], { hotBytes = logDefaults.hotBytes, runs }: WovenLogOptions = {}) {
    this.#partitions = partitions;
    this.#map = new WovenMap(partitions, weaveFrom, () => this.#beginPlacesAnew(), runs);
    this.hot = new HotTail(hotBytes, weaveFrom);
    this.head = { epoch: 0, offset: weaveFrom, time: Math.max(...partitions.map(({ head }) => head.time)) };
    this.tables = partitions[0]!.tables;
    const timeAt = (place: number): number => this.#timeAt(place);
    this.tokens = new WovenTokens({
      map: this.#map,
      id: () => this.id,
      upToDate: () => this.upToDate(),
      timeAt: (place, time) => this.hot.timeAt(place) ?? (place === this.head.offset ? this.head.time : time),
    });
    this.places = new WovenPlaces(this.#map, place => this.positionOf(place));
    this.#reads = new WovenReads({ map: this.#map, hot: this.hot, timeAt });
    this.shared = sharedOf(partitions, place => this.#map.vectorAt(place));
    this.#appends = new WovenAppends(partitions);
    this.#untail = partitions.map((log, p) =>
      log.tail({
        onCommit: batch => this.#take(p, batch),
        onEpoch: () => this.#epochBegan(),
        onRewind: () => this.#goBack(),
      }),
    );
    for (const [p, { deletions }] of partitions.entries())
      deletions.listen(({ topic, upTo, table }) => this.#forgetTopic(p, topic, upTo, table));
  }

  get id(): string {
    return this.#partitions[0]!.id;
  }

  get capabilities(): LogCapabilities {
    return this.#partitions[0]!.capabilities;
  }

  get removals(): number {
    return this.#partitions.reduce((sum, { removals }) => sum + removals, 0);
  }

  /** Each asks all partitions: they may be on several servers. */
  get probes(): readonly EngineProbe[] {
    return this.#partitions[0]!.probes.map(({ name, slowMs }, i) => ({
      name,
      slowMs,
      run: async () => {
        await Promise.all(this.#partitions.map(({ probes }) => probes[i]!.run()));
      },
    }));
  }

  get live(): LiveChannel | undefined {
    return this.#partitions[0]!.live;
  }

  get status(): LogStatus {
    return sumOfStatus(this.#partitions.map(({ status }) => status));
  }

  get memory(): LogMemory {
    return sumOfMemory(this.#partitions.map(({ memory }) => memory));
  }

  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    return this.#appends.append(messages, durability);
  }

  tail(listener: TailListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    return this.#reads.read(after, to, filters, maxBytes);
  }

  async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const vector = this.#heldAt(to);
    const found = await Promise.all(
      partitionsFor(filters, this.#partitions.length).map(async p => {
        const offsets = await this.#partitions[p]!.newest(filters, count, vector[p]!);
        return offsets.map(offset => addressOf(p, offset));
      }),
    );
    return joined(found);
  }

  async current(filters: FilterSet, to: Position = this.head): Promise<Current> {
    const vector = this.#heldAt(to.offset);
    const found = await Promise.all(
      partitionsFor(filters, this.#partitions.length).map(async p => {
        const log = this.#partitions[p]!;
        const { offsets } = await log.current(filters, await log.positionOf(vector[p]!));
        return offsets.map(offset => addressOf(p, offset));
      }),
    );
    return { to, offsets: joined(found) };
  }

  async keyAt(topic: string, key: string): Promise<number> {
    const partition = partitionOf(topic, this.#partitions.length);
    const offset = await this.#partitions[partition]!.keyAt(topic, key);
    return offset === 0 ? 0 : addressOf(partition, offset);
  }

  async recordsAt(places: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const records: LogRecord[] = [];
    let bytes = 0;
    for (let at = 0; at < places.length && (bytes < maxBytes || records.length === 0); ) {
      const of = this.#map.recordAt(places[at]!);
      if (of === undefined) {
        if (records.length > 0) break;
        at++;
        continue;
      }
      const { partition } = of;
      const offsets: number[] = [];
      let end = at;
      for (; end < places.length; end++) {
        const record = this.#map.recordAt(places[end]!);
        if (record?.partition !== partition) break;
        offsets.push(record.offset);
      }
      const found = await this.#partitions[partition]!.recordsAt(Float64Array.from(offsets), maxBytes - bytes);
      const first = found[0];
      // what is gone in the middle ends it; who asks again begins behind that
      if (records.length > 0 && first?.offset !== offsets[0]) break;
      for (const record of found) {
        records.push(placed(record, places[at + offsets.indexOf(record.offset)]!));
        bytes += record.weight;
      }
      if (first !== undefined && found[found.length - 1]!.offset !== offsets[offsets.length - 1]) break;
      at = end;
    }
    return records;
  }

  async positionAt(time: number): Promise<Position> {
    const all = await Promise.all(this.#partitions.map(log => log.positionAt(time)));
    const place = this.#map.placeOf(
      Float64Array.from(all, ({ offset }) => offset),
      time,
    );
    return { epoch: 0, offset: place, time: Math.max(...all.map(position => position.time)) };
  }

  async positionOf(place: number): Promise<Position> {
    if (isWoven(place)) return { epoch: 0, offset: place, time: this.#timeAt(place) };
    const at = this.#map.recordAt(place);
    const time = at === undefined ? 0 : (await this.#partitions[at.partition]!.positionOf(at.offset)).time;
    return { epoch: 0, offset: place, time };
  }

  droppedAfter(after: number, filters: FilterSet): Dropped {
    return this.#reads.droppedAfter(after, filters);
  }

  endOf(): undefined {
    return undefined;
  }

  upToDate(): Promise<void> | undefined {
    const all = this.#partitions.map(log => log.upToDate());
    return all.includes(undefined) ? undefined : Promise.all(all).then(() => {});
  }

  endedAt(topic: string): number {
    return this.#partitions[partitionOf(topic, this.#partitions.length)]!.endedAt(topic);
  }

  epochOf(): number {
    return 0;
  }

  async topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const all = await Promise.all(this.#partitions.map(log => log.topics(prefix, after, limit)));
    return all
      .flat()
      .sort((one, other) => (one.topic < other.topic ? -1 : 1))
      .slice(0, limit);
  }

  async trim(place: number): Promise<void> {
    const vector = this.#map.vectorAt(place);
    await Promise.all(this.#partitions.map((log, p) => log.trim(vector[p]!)));
  }

  async deleteTopic(topic: string): Promise<Deleted> {
    const partition = partitionOf(topic, this.#partitions.length);
    const { upTo, pending } = await this.#partitions[partition]!.deleteTopic(topic);
    return { upTo: upTo && { ...upTo, partition }, pending };
  }

  async close(): Promise<void> {
    await Promise.all(this.#partitions.map(log => log.close()));
    for (const untail of this.#untail) untail();
  }

  /** Hot. */
  #take(partition: number, batch: RecordBatch): void {
    const { weave } = this.#map;
    const time = Math.max(this.head.time, batch.timeAt(batch.count - 1));
    const woven = new WovenBatch(batch, weave.push(partition, batch.last, time));
    this.hot.push(woven);
    // of what is in memory it must be known how cursors name it
    if (this.hot.base < weave.first) this.hot.trim(weave.first);
    this.head = { epoch: 0, offset: woven.last, time };
    for (const listener of this.#listeners) listener.onCommit(woven);
  }

  #epochBegan(): void {
    this.tokens.forget();
    for (const listener of this.#listeners) listener.onEpoch?.();
  }

  /** A partition has lost its newest records: what was woven is no log any more, and the weave begins anew behind it. */
  #goBack(): void {
    const first = this.head.offset + 1;
    this.#map.beginAnew(first);
    this.hot.reset(first);
    this.head = { ...this.head, offset: first };
    this.#beginPlacesAnew();
  }

  /** What places were told means nothing any more: who holds one comes back by its cursor. */
  #beginPlacesAnew(): void {
    this.rewinds++;
    this.tokens.forget();
    for (const listener of this.#listeners) listener.onRewind?.();
  }

  #forgetTopic(partition: number, topic: string, upTo: number, table: boolean): void {
    const { weave } = this.#map;
    const place = weave.placeOf(partition, upTo) ?? weave.head;
    this.hot.remove(topic, place);
    this.deletions.add({ topic, upTo: place, table });
    const remaining = this.#partitions.map(({ deletions }) => deletions.byTopic);
    this.deletions.forget(deletion => !remaining.some(byTopic => byTopic.has(deletion.topic)));
  }

  /** How far each partition has been read at `place`. Throws `log_rewound` where one has less just now. */
  #heldAt(place: number): Vector {
    const vector = this.#map.vectorAt(place);
    if (this.#partitions.some(({ head }, p) => head.offset < vector[p]!)) throw goingBack();
    return vector;
  }

  #timeAt(place: number): number {
    return this.hot.timeAt(place) ?? (place >= this.head.offset ? this.head.time : this.#map.weave.timeAt(place));
  }
}

function sharedOf(partitions: readonly Log[], vectorAt: (place: number) => Vector): SharedLog | undefined {
  const all = partitions.flatMap(({ shared }) => (shared === undefined ? [] : [shared]));
  const [first] = all;
  if (first === undefined) return undefined;
  return {
    nodes: first.nodes,
    groups: new WovenGroups(
      all.map(({ groups }) => groups),
      vectorAt,
    ),
    tails: all.flatMap(({ tails }) => tails),
  };
}

function joined(arrays: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all.sort();
}
