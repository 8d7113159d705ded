// The server's own index, filter sets and hub, in this process and without a socket: how long a lookup takes; the same
// questions to a plain list of all filters.
import { type FilterSet, filterSet, isWildcard, matchFilter } from '@tailrace/protocol';
import { defaultConfig } from '../../packages/server/src/config/index.ts';
import type { Encoding, Hub, Session } from '../../packages/server/src/hub/index.ts';
import { type IndexTarget, TopicIndex } from '../../packages/server/src/hub/topic-index.ts';
import { type MemoryLog, openMemoryLog } from '../../packages/server/src/log/index.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { nobody, openHub, takesAll } from '../hub.ts';
import { numbers, Site } from './site.ts';

export interface LookupJob {
  /** Filters in the index, and subscriptions of the graph. */
  filters: number;
  way: 'index' | 'scan';
  /** Milliseconds for each figure. */
  windowMs: number;
}

/** Name (with its unit) → value. */
type Figures = Record<string, number>;

export interface LookupResult {
  figures: Figures;
  cpu: CpuShares;
}

const seed = 20_251_121;
/** Fresh strings of a round: a topic comes from the wire, so nobody has looked it up before. */
const topicsOfRound = 16_384;
const shortRound = 16;
const roundsAtLeast = 8;
/** The server's limits as they are set where nobody changes them. */
const usualLimits = defaultConfig().limits;
/** Most filters of one subscription that the configuration allows. */
const mostFilters = 10_000;
const subscriptionsOfSession = 10;
/** What the first subscription of each session reads. */
const broadcast = 'alerts/all';
/** Topics and sessions whose answers are compared before anything is timed. */
const checkedTopics = 100;

export async function lookups(job: LookupJob): Promise<LookupResult> {
  const room = await Room.open(job.filters);
  const crowd = await Room.openCrowd(job.filters);
  const meter = new CpuMeter([]);
  try {
    const exact = matchFigures(job, new Site(job.filters, seed).topics(job.filters), 'exact');
    const site = new Site(job.filters, seed + 1);
    const mixed = Array.from({ length: job.filters }, () => site.filter());
    const wildcard = matchFigures(job, mixed, 'wildcard');
    const sets = job.way === 'index' && setFigures(job.windowMs);
    const figures = { ...exact, ...wildcard, ...graphFigures(job, room, crowd), ...sets };
    return { figures, cpu: meter.readAlone() };
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
function matchFigures({ way, windowMs }: LookupJob, filters: readonly string[], kind: string): Figures {
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

/** One subscription's own test, as a pass makes it for each record. No match is the most work. */
function setFigures(windowMs: number): Figures {
  const site = new Site(mostFilters, seed + 3);
  const matching = site.topics(topicsOfRound);
  const foreign = matching.map(topic => `${topic.split('/', 2).join('/')}/no-device/no-metric`);
  // but those of a whole site
  const mixed = (length: number): string[] =>
    Array.from({ length }, () => site.filter()).filter(filter => !/^iot\/[^/]+\/#$/.test(filter));
  const timeOf = (filters: readonly string[], topics: readonly string[]): number => {
    const set = filterSet(filters);
    let hits = 0;
    return nanoseconds(topic => void (hits += set.matches(topic) ? 1 : 0), topics, windowMs);
  };
  const many = mostFilters.toLocaleString('en-US');
  return {
    'ns: FilterSet, 1 exact': timeOf([matching[0]!], matching),
    'ns: FilterSet, 1 wildcard': timeOf(['iot/+/+/temperature'], matching),
    [`ns: FilterSet, ${usualLimits.filters} mixed`]: timeOf(mixed(usualLimits.filters), foreign),
    [`ns: FilterSet, ${many} exact`]: timeOf(matching.slice(0, mostFilters), matching),
    [`ns: FilterSet, ${many} mixed`]: timeOf(mixed(mostFilters), foreign),
  };
}

/** Nanoseconds of one lookup: rounds over fresh strings until the time is up, the median of the rounds. */
function nanoseconds(look: (topic: string) => void, topics: readonly string[], windowMs: number): number {
  const bytes = topics.map(topic => Buffer.from(topic, 'latin1'));
  let at = 0;
  const round = (count: number): number => {
    const fresh = Array.from({ length: count }, () => bytes[at++ % bytes.length]!.toString('latin1'));
    const began = performance.now();
    for (const topic of fresh) look(topic);
    return ((performance.now() - began) * 1e6) / count;
  };
  // a short first look, for a scan of 100,000 filters would take a minute for all topics
  const count = Math.floor((windowMs * 1e6) / roundsAtLeast / round(shortRound));
  const length = Math.min(Math.max(count, shortRound), topics.length);
  round(length); // warms up
  const times: number[] = [];
  const deadline = performance.now() + windowMs;
  while (times.length < 3 || performance.now() < deadline) times.push(round(length));
  return median(times);
}

/** A hub with a log in memory, and sessions that lead takesAll. */
class Room {
  readonly sessions: Session[] = [];
  /** All subscriptions in one plain list. */
  readonly list: { readonly session: Session; readonly sub: string; readonly filter: string }[] = [];
  readonly #log: MemoryLog = openMemoryLog();
  readonly hub: Hub = openHub(this.#log);

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
    const session = this.hub.openSession('bench', takesAll, silent, nobody);
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

const empty = Buffer.alloc(0);
/** With labels, as over WebSocket: only there a session has many subscriptions. */
const silent: Encoding = { name: 'bench', body: () => empty, wrap: () => empty, notice: () => empty };

type Heard = { readonly session: Session; readonly sub: string }[];
type Listened = { readonly sub: string; readonly filters: readonly string[] }[];

/** The two questions: from the hub, as the sessions API asks it, and from the plain list. */
const asked = {
  index: {
    who: ({ hub }: Room, topic: string): number => hub.listeners(topic).length,
    what: ({ hub }: Room, id: string): Listened =>
      hub.sessions.get(id)!.subscriptions.map(({ sub, filters }) => ({ sub, filters: filters.filters })),
  },
  scan: {
    who: ({ list }: Room, topic: string): number => scanned(list, topic).length,
    what: ({ list }: Room, id: string): Listened =>
      list.filter(({ session }) => session.id === id).map(({ sub, filter }) => ({ sub, filters: [filter] })),
  },
} as const;

function scanned(list: Room['list'], topic: string): Heard {
  const heard: Heard = [];
  for (const { session, sub, filter } of list) if (matchFilter(filter, topic)) heard.push({ session, sub });
  return heard;
}

function graphFigures({ filters, way, windowMs }: LookupJob, room: Room, crowd: Room): Figures {
  const below = numbers(seed + 7);
  const site = new Site(filters, seed + 6);
  const topics = Array.from({ length: 1_000 }, () => site.topic());
  const ids = topics.map(() => room.sessions[1 + below(room.sessions.length - 1)]!.id);
  const heaviest = room.sessions[0]!.id;
  checkGraph(room, [broadcast, ...topics], [heaviest, ...ids]);
  checkGraph(crowd, [broadcast], []);

  const { who, what } = asked[way];
  const time = (ask: (i: number) => number): number => milliseconds(ask, windowMs);
  return {
    'ms: who listens': time(i => who(room, topics[i % topics.length]!)),
    'ms: who listens, every 10th subscription does': time(() => who(room, broadcast)),
    'ms: who listens, all subscriptions do': time(() => who(crowd, broadcast)),
    'ms: what U listens to': time(i => what(room, ids[i % ids.length]!).length),
    [`ms: what U listens to, ${usualLimits.subscriptions} subscriptions`]: time(() => what(room, heaviest).length),
  };
}

/** Hub and list must give the same answers. */
function checkGraph(room: Room, topics: readonly string[], ids: readonly string[]): void {
  const told = (heard: Heard): string => {
    const lines = heard.map(({ session, sub }) => `${session.id} ${sub}`);
    return lines.sort().join('\n');
  };
  for (const topic of topics.slice(0, checkedTopics)) {
    const heard = room.hub.listeners(topic).map(({ session, subscription: { sub } }) => ({ session, sub }));
    if (told(heard) !== told(scanned(room.list, topic))) throw new Error(`wrong listeners of ${topic}`);
  }
  for (const id of ids.slice(0, checkedTopics)) {
    if (JSON.stringify(asked.index.what(room, id)) !== JSON.stringify(asked.scan.what(room, id)))
      throw new Error(`wrong subscriptions of ${id}`);
  }
}

/** Milliseconds of one question: the median of those asked until the time is up; a fifth of it before, to warm up. */
function milliseconds(ask: (i: number) => number, windowMs: number): number {
  const times: number[] = [];
  let answers = 0;
  const warm = performance.now() + windowMs / 5;
  const deadline = warm + windowMs;
  for (let i = 0; times.length < 3 || performance.now() < deadline; i++) {
    const began = performance.now();
    answers += ask(i);
    if (began > warm) times.push(performance.now() - began);
  }
  if (answers === 0) throw new Error('nobody listens to anything');
  return median(times);
}

function median(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1] ?? Number.NaN;
}
