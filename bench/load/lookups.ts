// The server's own index, filter sets and hub, in this process and without a socket: how long a lookup takes; the same
// questions to a plain list of all filters.
import { type FilterSet, filterSet, isWildcard, matchFilter } from '@tailrace/protocol';
import {
  type Encoding,
  Hub,
  type Outlet,
  type Session,
  type SessionOwner,
} from '../../packages/server/src/hub/index.ts';
import { type IndexTarget, TopicIndex } from '../../packages/server/src/hub/topic-index.ts';
import { type MemoryLog, openMemoryLog, systemClock, systemRandom } from '../../packages/server/src/log/index.ts';
import { numbers, Site } from './site.ts';

export interface LookupJob {
  /** Filters in the index, and subscriptions of the graph. */
  filters: number;
  way: 'index' | 'scan';
  /** Milliseconds for each figure. */
  windowMs: number;
}

/** Name (with its unit) → value. */
export type LookupResult = Record<string, number>;

const seed = 20_251_121;
/** Fresh strings of a round: a topic comes from the wire, so nobody has looked it up before. */
const topicsOfRound = 16_384;
/** The server's limits as they are set where nobody changes them. */
const usualLimits = { filters: 128, subscriptions: 256 } as const;
const subscriptionsOfSession = 10;
/** What the first subscription of each session reads. */
const broadcast = 'alerts/all';
/** Every so many questions are about `broadcast`, or the session with most subscriptions. */
const heavyEvery = 10;
const checkedTopics = 100;

export async function lookups(job: LookupJob): Promise<LookupResult> {
  const room = await Room.open(job.filters);
  const crowd = await Room.openCrowd(job.filters);
  try {
    const exact = matchFigures(job, new Site(job.filters, seed).topics(job.filters), 'exact');
    const site = new Site(job.filters, seed + 1);
    const mixed = Array.from({ length: job.filters }, () => site.filter());
    const wildcard = matchFigures(job, mixed, 'wildcard');
    return { ...exact, ...wildcard, ...graphFigures(job, room, crowd), ...(job.way === 'index' && setFigures(job)) };
  } finally {
    await room.close();
    await crowd.close();
  }
}

class Target implements IndexTarget {
  marks = 0;

  mark(): void {
    this.marks++;
  }
}

/** From a topic to what reads it, each filter with a target of its own; every topic matches at least one. */
function matchFigures({ way, windowMs }: LookupJob, filters: readonly string[], kind: string): LookupResult {
  const entries = filters.map(filter => ({ filter, target: new Target() }));
  const index = new TopicIndex<Target>();
  for (const { filter, target } of entries) index.add(filterSet([filter]), target);
  const scan = (topic: string): void => {
    for (const { filter, target } of entries) if (matchFilter(filter, topic)) target.mark();
  };
  const below = numbers(seed);
  const known = matchedTopics(filters, kind === 'exact' ? filter => !isWildcard(filter) : isWildcard, below);

  // both must mark the same targets
  const marked = (mark: (topic: string) => void): string => {
    for (const { target } of entries) target.marks = 0;
    for (let i = 0; i < checkedTopics; i++) mark(known[i]!);
    return entries.map(({ target }) => target.marks).join();
  };
  const byIndex = marked(topic => index.mark(topic, 1));
  const found = entries.reduce((sum, { target }) => sum + target.marks, 0);
  if (byIndex !== marked(scan)) throw new Error(`the index and a scan disagree about ${kind} filters`);
  if (found < checkedTopics) throw new Error(`only ${found} matches of ${checkedTopics} topics`);

  const mark = way === 'index' ? (topic: string): void => index.mark(topic, 1) : scan;
  return {
    [`ns: ${kind} match`]: nanoseconds(mark, known, windowMs),
    ...(kind === 'wildcard' && { 'targets of a wildcard match': found / checkedTopics }),
  };
}

/** One topic for each filter that `which` admits, in any order. */
function matchedTopics(
  filters: readonly string[],
  which: (filter: string) => boolean,
  below: (n: number) => number,
): string[] {
  const topics = new Site(filters.length, seed + 2);
  const chosen = filters.filter(which);
  return Array.from({ length: topicsOfRound }, () => {
    const levels = chosen[below(chosen.length)]!.split('/');
    const any = topics.topic().split('/');
    const rest = levels.at(-1) === '#' ? [...levels.slice(0, -1), ...any.slice(levels.length - 1)] : levels;
    return rest.map((level, i) => (level === '+' ? any[i] : level)).join('/');
  });
}

/** One subscription's own test, as a pass makes it for each record: half of the topics match. */
function setFigures({ filters: count, windowMs }: LookupJob): LookupResult {
  const below = numbers(seed + 3);
  const timeOf = (filters: readonly string[]): number => {
    const set = filterSet(filters);
    const matching = matchedTopics(filters, () => true, below);
    const site = new Site(count, seed + 4);
    const topics = matching.map((topic, i) => (i % 2 === 0 ? topic : site.topic()));
    let hits = 0;
    const time = nanoseconds(topic => void (hits += set.matches(topic) ? 1 : 0), topics, windowMs);
    if (hits === 0) throw new Error('a filter set matched nothing');
    return time;
  };
  const site = new Site(count, seed + 5);
  const mixed = (length: number): string[] => Array.from({ length }, () => site.filter());
  return {
    'ns: FilterSet, 1 exact': timeOf([site.topic()]),
    'ns: FilterSet, 1 wildcard': timeOf(['iot/site-0001/+/temperature']),
    [`ns: FilterSet, ${usualLimits.filters} mixed (limits.filters)`]: timeOf(mixed(usualLimits.filters)),
    'ns: FilterSet, all exact': timeOf(site.topics(count)),
    'ns: FilterSet, all mixed': timeOf(mixed(count)),
  };
}

/** Nanoseconds of one lookup: rounds over fresh strings until the time is up, the median of the rounds. */
function nanoseconds(look: (topic: string) => void, topics: readonly string[], windowMs: number): number {
  const bytes = topics.map(topic => Buffer.from(topic, 'latin1'));
  const rounds: number[] = [];
  let perRound = topics.length;
  const deadline = performance.now() + windowMs;
  for (let round = 0; round < 3 || performance.now() < deadline; round++) {
    const start = round * perRound;
    const fresh = Array.from({ length: perRound }, (_, i) => bytes[(start + i) % bytes.length]!.latin1Slice());
    const began = performance.now();
    for (const topic of fresh) look(topic);
    const ms = performance.now() - began;
    rounds.push((ms * 1e6) / perRound);
    // a scan of 100,000 filters would take a minute for a whole round
    if (round === 0) perRound = Math.min(perRound, Math.max(16, Math.floor((perRound * windowMs) / 8 / ms)));
  }
  return quantile(rounds.slice(1), 0.5); // the first warms up
}

/** A hub with a log in memory, and sessions that lead nowhere. */
class Room {
  readonly hub: Hub;
  readonly sessions: Session[] = [];
  /** All subscriptions in one plain list. */
  readonly list: { readonly session: Session; readonly sub: string; readonly filter: string }[] = [];
  readonly #log: MemoryLog = openMemoryLog();

  constructor() {
    this.hub = new Hub({
      log: this.#log,
      clock: systemClock,
      random: systemRandom,
      durability: 'fsync',
      durabilityRules: [],
      lagRules: [],
      lagTarget: 100,
      lagLimit: 200,
      pinnedMax: 2 ** 24,
      stallMax: 60_000,
      publishDeadline: 3_000,
      heartbeat: 25_000,
      subscriptionsMax: usualLimits.subscriptions,
      onReadError: error => {
        throw error;
      },
    });
  }

  /** `count` subscriptions: one session has as many as it may, the others ten each. */
  static async open(count: number): Promise<Room> {
    const room = new Room();
    const site = new Site(count, seed + 6);
    for (let left = count; left > 0; ) {
      const own = left === count ? usualLimits.subscriptions : Math.min(subscriptionsOfSession, left);
      const session = room.#session();
      for (let i = 0; i < own; i++) await room.#subscribe(session, `s${i}`, i === 0 ? broadcast : site.filter());
      left -= own;
    }
    return room;
  }

  /** `count` sessions that all read one topic. */
  static async openCrowd(count: number): Promise<Room> {
    const room = new Room();
    for (let i = 0; i < count; i++) await room.#subscribe(room.#session(), 's0', broadcast);
    return room;
  }

  async close(): Promise<void> {
    this.hub.close();
    await this.#log.close();
  }

  #session(): Session {
    const session = this.hub.openSession('bench', nowhere, silent, nobody);
    this.sessions.push(session);
    return session;
  }

  async #subscribe(session: Session, sub: string, filter: string): Promise<void> {
    const filters: FilterSet = filterSet([filter]);
    const start = this.hub.resolveStart(filters, { cursor: undefined, from: undefined });
    this.hub.subscribe(session, sub, filters, start instanceof Promise ? await start : start, () => undefined);
    this.list.push({ session, sub, filter });
  }
}

const nowhere: Outlet = {
  unfinished: 0,
  write: () => undefined,
  whenFinished: () => undefined,
  end: () => undefined,
  destroy: () => undefined,
};
const silent: Encoding = { name: 'bench', body: () => Buffer.alloc(0), wrap: null, notice: () => Buffer.alloc(0) };
const nobody: SessionOwner = { onCut: () => undefined, onEnded: () => undefined };

type Heard = Map<Session, string[]>;
type Listened = { readonly sub: string; readonly filters: readonly string[] }[];

/** The two questions as `GET /v1/sessions?topic=` and `GET /v1/sessions/{id}` put them, without JSON. */
const asked = {
  index: {
    who: ({ hub }: Room, topic: string): Heard => {
      const heard: Heard = new Map();
      for (const { session, subscription } of hub.listeners(topic)) note(heard, session, subscription.sub);
      return heard;
    },
    what: ({ hub }: Room, id: string): Listened =>
      hub.sessions.get(id)!.subscriptions.map(({ sub, filters }) => ({ sub, filters: filters.filters })),
  },
  scan: {
    who: ({ list }: Room, topic: string): Heard => {
      const heard: Heard = new Map();
      for (const { session, sub, filter } of list) if (matchFilter(filter, topic)) note(heard, session, sub);
      return heard;
    },
    what: ({ list }: Room, id: string): Listened =>
      list.filter(({ session }) => session.id === id).map(({ sub, filter }) => ({ sub, filters: [filter] })),
  },
} as const;

function note(heard: Heard, session: Session, sub: string): void {
  const subs = heard.get(session);
  if (subs === undefined) heard.set(session, [sub]);
  else subs.push(sub);
}

function graphFigures({ filters, way, windowMs }: LookupJob, room: Room, crowd: Room): LookupResult {
  const below = numbers(seed + 7);
  const site = new Site(filters, seed + 6);
  const topics = Array.from({ length: 1_000 }, (_, i) => (i % heavyEvery === 0 ? broadcast : site.topic()));
  const ids = topics.map((_, i) => room.sessions[i % heavyEvery === 0 ? 0 : below(room.sessions.length)]!.id);
  checkGraph(room, topics, ids);

  const { who, what } = asked[way];
  const whoTimes = milliseconds(i => who(room, topics[i % topics.length]!).size, windowMs);
  const whatTimes = milliseconds(i => what(room, ids[i % ids.length]!).length, windowMs);
  const crowdTimes = milliseconds(() => who(crowd, broadcast).size, windowMs);
  return {
    'ms: who listens, p50': quantile(whoTimes, 0.5),
    'ms: who listens, p99': quantile(whoTimes, 0.99),
    'ms: what U listens to, p50': quantile(whatTimes, 0.5),
    'ms: what U listens to, p99': quantile(whatTimes, 0.99),
    'ms: who listens, all sessions do, p50': quantile(crowdTimes, 0.5),
  };
}

function checkGraph(room: Room, topics: readonly string[], ids: readonly string[]): void {
  const { index, scan } = asked;
  const told = (heard: Heard): string =>
    [...heard]
      .map(([{ id }, subs]) => `${id} ${[...subs].sort().join(' ')}`)
      .sort()
      .join('\n');
  for (const topic of topics.slice(0, checkedTopics)) {
    if (told(index.who(room, topic)) !== told(scan.who(room, topic))) throw new Error(`wrong listeners of ${topic}`);
  }
  for (const id of ids.slice(0, checkedTopics)) {
    if (JSON.stringify(index.what(room, id)) !== JSON.stringify(scan.what(room, id)))
      throw new Error(`wrong subscriptions of ${id}`);
  }
}

/** Milliseconds of each question, until the time is up; a fifth of it before, to warm up. */
function milliseconds(ask: (i: number) => number, windowMs: number): number[] {
  const times: number[] = [];
  const warm = performance.now() + windowMs / 5;
  const deadline = warm + windowMs;
  for (let i = 0; ; i++) {
    const began = performance.now();
    if (began > deadline && times.length > heavyEvery) return times;
    if (ask(i) === -1) throw new Error('no answer');
    if (began > warm) times.push(performance.now() - began);
  }
}

function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
