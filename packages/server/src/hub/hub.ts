import { type FilterSet, type Message, TailraceError, toTailraceError } from '@tailrace/protocol';
import type { Clock, Dropped, Log, Place, Position, Random, RecordBatch, RecordSource, Tokens } from '../log/index.ts';
import { Blocks, labelKey } from './blocks.ts';
import { Brake } from './brake.ts';
import { CatchUp } from './catch-up.ts';
import { Cohort, type CohortHost } from './cohort.ts';
import type { Encoding } from './encoding.ts';
import { haveEnded } from './ended.ts';
import type { LagRule } from './lag-rules.ts';
import { LiveReader } from './live-reader.ts';
import { Newest, type NewestList } from './newest.ts';
import type { Outlet } from './outlet.ts';
import { type Breaker, type DurabilityRule, Publisher, type Spooling } from './publisher.ts';
import { Reader } from './reader.ts';
import { type Deliveries, Session, type SessionOwner } from './session.ts';
import { Slices } from './slices.ts';
import { resolveStart, type Start, type StartRequest } from './start.ts';
import { StateReader } from './state-reader.ts';
import { Subscription } from './subscription.ts';
import { type IndexTarget, TopicIndex } from './topic-index.ts';
import { VolatileTail } from './volatile.ts';

export interface HubOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** Default durability class. */
  readonly durability: 'fsync' | 'written' | 'none';
  /** Open while the engine is out; left out: never. */
  readonly breaker?: Breaker | undefined;
  /** Takes publishes while the engine is away. */
  readonly spool?: Spooling | undefined;
  readonly durabilityRules: readonly DurabilityRule[];
  readonly lagRules: readonly LagRule[];
  /** ms; see Brake. */
  readonly lagTarget: number;
  readonly lagLimit: number;
  /** Bytes of distinct blocks held by unfinished writes. */
  readonly pinnedMax: number;
  /** ms without progress after which an outlet is cut. */
  readonly stallMax: number;
  /** ms a publish may wait for its commit. */
  readonly publishDeadline: number;
  /** ms between cursor heartbeats of a quiet cohort. */
  readonly heartbeat: number;
  /** Subscriptions of one session. */
  readonly subscriptionsMax: number;
  /** A read of the log failed under a subscriber: for the server's log. */
  readonly onReadError: (error: unknown) => void;
}

/** Bytes of encoded blocks kept for sharing, of those out of the hot tail and of those below it. */
const blockCacheBytes = 4 * 1024 * 1024;
/** Bytes of class `none` messages kept for cohorts whose turn has not come. */
const volatileBytes = 1024 * 1024;

const beatMs = 250;

const neverOpen: Breaker = { reason: undefined, admit: () => {} };

/** The logic layer: who reads what, and how far. Knows sessions and outlets, no transport and no socket. */
export class Hub implements CohortHost {
  readonly log: Log;
  readonly clock: Clock;
  readonly tokens: Tokens;
  readonly blocks: Blocks;
  readonly newest: Newest;
  readonly slices: Slices;
  readonly catchUp: CatchUp;
  readonly brake: Brake;
  readonly publisher: Publisher;
  readonly volatile: VolatileTail;
  readonly index: TopicIndex<IndexTarget> = new TopicIndex();
  readonly deliveries: Deliveries = { records: 0, writes: 0, bytes: 0, dropped: 0 };
  readonly sessions: Map<string, Session> = new Map();
  readonly cohorts: Map<string, Cohort> = new Map();
  roundHead: number;
  readonly #o: HubOptions;
  readonly #closing = new AbortController();
  readonly #untail: () => void;
  readonly #unlisten: () => void;
  readonly #unbeat: () => void;
  #beats = 0;
  #cohortOrder: Cohort[] = [];
  #roundStarted = 0;
  // commit times for the brake: the newest commits, [last offset, monotonic ms] in turn
  #commits: number[] = [];

  constructor(options: HubOptions) {
    const { log, clock } = options;
    this.#o = options;
    this.log = log;
    this.clock = clock;
    this.tokens = log.tokens;
    this.blocks = new Blocks(log, this.tokens, blockCacheBytes);
    this.newest = new Newest(log);
    this.roundHead = log.head.offset;
    this.slices = new Slices(clock, {
      beforeRound: () => {
        this.roundHead = log.head.offset;
      },
      afterSlice: () => this.brake.update(this.#lag()),
    });
    this.volatile = new VolatileTail(volatileBytes, clock);
    this.brake = new Brake(options.lagTarget, options.lagLimit);
    this.catchUp = new CatchUp({
      log,
      clock,
      blocks: this.blocks,
      newest: this.newest,
      tokens: this.tokens,
      slices: this.slices,
      lagRules: options.lagRules,
      pinnedMax: options.pinnedMax,
      stallMax: options.stallMax,
      onReadError: (subscription, error) => this.#readFailed(subscription, error),
    });
    this.publisher = new Publisher({
      log,
      clock,
      brake: this.brake,
      breaker: options.breaker ?? neverOpen,
      spool: options.spool,
      durability: options.durability,
      rules: options.durabilityRules,
      deadline: options.publishDeadline,
      passOn: message => this.#passOn(message),
    });
    this.#untail = log.tail({
      onCommit: batch => this.#dispatch(batch),
      onEpoch: () => this.tokens.forget(),
      onRewind: () => this.#rewind(),
    });
    this.#unlisten = log.live?.listen(message => this.#takeLive(message)) ?? (() => {});
    this.#unbeat = clock.every(beatMs, () => this.#beat());
  }

  /** Opens a session over an outlet. It lasts until `closeSession`. */
  openSession(transport: string, outlet: Outlet, encoding: Encoding, owner: SessionOwner): Session {
    const session = new Session(
      this.#o.random.id(12),
      transport,
      outlet,
      encoding,
      owner,
      this.catchUp,
      this.deliveries,
    );
    this.sessions.set(session.id, session);
    return session;
  }

  closeSession(session: Session): void {
    if (session.closed) return;
    session.closed = true;
    this.sessions.delete(session.id);
    while (session.subscriptions.length > 0) this.unsubscribe(session.subscriptions[session.subscriptions.length - 1]!);
    this.catchUp.forget(session);
  }

  /** Decides where a subscription begins; at once where it can. Throws or rejects with `cursor_invalid`. */
  resolveStart(filters: FilterSet, request: StartRequest): Start | Promise<Start> {
    const { rewinds } = this.log;
    const start = resolveStart(this.log, this.clock, request, filters, (count, asOf) =>
      asOf === undefined ? this.newest.now(filters, count) : this.newest.of(filters, { count, to: asOf }),
    );
    if (!(start instanceof Promise)) return start;
    // what was decided of a log that has gone back meanwhile is decided anew
    return start.then(
      found => (rewinds === this.log.rewinds ? found : this.resolveStart(filters, request)),
      (error: unknown) => {
        if (rewinds === this.log.rewinds) throw error;
        return this.resolveStart(filters, request);
      },
    );
  }

  /**
   * Adds a subscription to an open session. `announce` is called with its cursor before any of its records: it writes
   * `subscribed`, and `live` in the same buffer when the subscription stands at the head already. Throws `already_subscribed` and `too_many_subscriptions`.
   */
  subscribe(
    session: Session,
    sub: string,
    filters: FilterSet,
    start: Start,
    announce: (cursor: string, live: boolean) => void,
  ): Subscription {
    if (session.find(sub) !== undefined)
      throw new TailraceError(
        'already_subscribed',
        `this session has a subscription labelled ${JSON.stringify(sub)} already`,
        { at: { sub } },
      );
    if (session.subscriptions.length >= this.#o.subscriptionsMax) {
      throw new TailraceError(
        'too_many_subscriptions',
        `this session holds ${session.subscriptions.length} subscriptions, the most that limits.subscriptions allows`,
        { at: { sub } },
      );
    }
    const cohort = this.#cohort(session.encoding, sub, filters);
    cohort.follow();
    const fits = start.jump === undefined && start.snapshot === undefined && start.at.offset === cohort.offset;
    const at = start.now || fits ? cohort : start.at;
    const subscription = new Subscription(session, cohort, at.offset, at.time);
    session.add(subscription);
    const live = start.now || fits;
    announce(this.tokens.of(at.offset, at.time), live);
    if (live) {
      subscription.owesLive = false;
      cohort.join(subscription);
      return subscription;
    }
    this.#jump(subscription, start);
    subscription.told = start.told;
    subscription.snapshot = start.snapshot?.snapshot;
    this.catchUp.begin(subscription);
    return subscription;
  }

  #jump(subscription: Subscription, start: Start): void {
    const { jump } = start;
    if (jump === undefined) return;
    const { session, sub } = subscription;
    const cursor = this.tokens.of(jump.to.offset, jump.to.time);
    if (jump.type === 'reset') session.notice({ type: 'reset', sub, cursor, reason: jump.reason });
    else
      session.notice({
        type: 'gap',
        sub,
        after: this.tokens.of(subscription.offset, subscription.time),
        cursor,
        reason: 'trimmed',
      });
    subscription.jumpTo(jump.to.offset, jump.to.time);
  }

  unsubscribe(subscription: Subscription): void {
    if (subscription.closed) return;
    subscription.closed = true;
    const { session, cohort } = subscription;
    cohort.leave(subscription);
    session.remove(subscription);
    if (cohort.size === 0) {
      this.cohorts.delete(cohort.key);
      this.index.remove(cohort.filters, cohort);
    } else if (cohort.members.length === 0) this.catchUp.cohortMoved(cohort); // those ahead wait for a pass that never comes
  }

  /** Whether nothing can follow `offset`: every topic it names had ended by then. */
  haveEnded(filters: FilterSet, offset: number): boolean {
    return haveEnded(this.log, filters, offset);
  }

  /** A cursor that is pulled once to its end (replay); reads a snapshot first when it begins with one. */
  reader(filters: FilterSet, at: Place, snapshot?: NewestList, told?: Dropped): Reader {
    return new Reader(this.log, this.index, filters, at, snapshot, told);
  }

  /** The same for who goes on following (poll): begins anew with a snapshot where deletions turn out to be dropped. */
  follow(filters: FilterSet, at: Place, snapshot?: NewestList, told?: Dropped): Reader {
    return new Reader(this.log, this.index, filters, at, snapshot, told, this.newest);
  }

  /** The same for who listens in this process: class `none` too. */
  liveReader(filters: FilterSet, at: Place, snapshot?: NewestList, told?: Dropped): LiveReader {
    return new LiveReader(this.log, this.index, this.volatile, filters, at, snapshot, told, this.newest);
  }

  /** Reads what is current; see StateReader. */
  state(filters: FilterSet, to: Position | undefined, after: number): Promise<StateReader> {
    return StateReader.begin(this.log, this.newest, filters, to, after);
  }

  /** Who listens to `topic` (C2): sessions with the subscriptions that match. */
  listeners(topic: string): { readonly session: Session; readonly subscription: Subscription }[] {
    const found: { session: Session; subscription: Subscription }[] = [];
    for (const target of this.index.match(topic)) {
      if (!(target instanceof Cohort)) continue;
      for (const subscription of target.members) found.push({ session: subscription.session, subscription });
      for (const subscription of target.apart) found.push({ session: subscription.session, subscription });
    }
    return found;
  }

  /** Stops delivery and the beat. The log stays open. */
  close(): void {
    this.#closing.abort();
    this.#untail();
    this.#unlisten();
    this.#unbeat();
    this.brake.update(0);
  }

  /** Aborted by `close`: nothing is dispatched any more. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  // CohortHost
  headOffset(): number {
    return this.log.head.offset;
  }

  headTime(): number {
    return this.log.head.time;
  }

  token(offset: number, time: number): string {
    return this.tokens.of(offset, time);
  }

  committedAt(offset: number): number {
    const commits = this.#commits;
    for (let i = commits.length - 2; i >= 2; i -= 2) if (commits[i - 2]! < offset) return commits[i + 1]!;
    return commits[1] ?? this.clock.monotonic();
  }

  #cohort(encoding: Encoding, sub: string, filters: FilterSet): Cohort {
    // a body without label is the same for all with these filters
    const key = `${labelKey(encoding, sub)}\n${filters.key}`;
    let cohort = this.cohorts.get(key);
    if (cohort === undefined) {
      cohort = new Cohort(key, sub, filters, encoding, this);
      this.cohorts.set(key, cohort);
      this.index.add(filters, cohort);
    }
    return cohort;
  }

  /** Marks the cohorts that a committed batch concerns. Hot. */
  #dispatch(batch: RecordBatch): void {
    this.#commits.push(batch.last, this.clock.monotonic());
    if (this.#commits.length > 4096) this.#commits = this.#commits.slice(2048);
    const { topics } = batch;
    const { names } = topics;
    for (let t = 0; t < names.length; t++) this.index.mark(names[t]!, batch.offsetAt(topics.firstOf(t)));
  }

  /**
   * The log lost its newest records, which clients may have seen. All of them come back with their cursors, and each is
   * told what became of it (`reset`), like after any failure of its connection.
   */
  #rewind(): void {
    for (const session of [...this.sessions.values()]) session.owner.onCut(session, 'rewound');
    for (const target of this.index.all()) if (target instanceof Reader) target.rewound();
    this.blocks.clear();
    this.newest.clear();
    this.tokens.forget();
    this.#commits = [];
    this.roundHead = this.log.head.offset;
  }

  /** A message of class `none` that was published here goes to the other nodes too. */
  #passOn(message: Message): void {
    this.log.live?.send(message);
    this.#takeLive(message);
  }

  #takeLive(message: RecordSource): void {
    this.volatile.push(message);
    for (const target of this.index.match(message.topic))
      if (target instanceof Cohort || target instanceof LiveReader) target.markVolatile();
  }

  /** Age of the oldest commit that a live cohort still has to deliver; the job queue is nearly sorted by it. */
  #lag(): number {
    const now = this.clock.monotonic();
    let since = now;
    for (const job of this.slices.sample())
      if (job instanceof Cohort && job.behind && job.dirtySince < since) since = job.dirtySince;
    return now - since;
  }

  #beat(): void {
    this.publisher.sweep();
    if (++this.#beats % 4 === 0) this.catchUp.sweep();
    this.#beatCohorts();
  }

  /** Each cohort once a heartbeat, a share of them each beat, so that they do not all come at once. */
  #beatCohorts(): void {
    const now = this.clock.monotonic();
    if (this.#cohortOrder.length === 0 && now - this.#roundStarted >= this.#o.heartbeat) {
      this.#roundStarted = now;
      this.#cohortOrder = [...this.cohorts.values()];
    }
    const share = Math.ceil((this.cohorts.size * beatMs) / this.#o.heartbeat);
    for (let i = 0; i < share && this.#cohortOrder.length > 0; i++) this.#cohortOrder.pop()!.beat();
  }

  #readFailed(subscription: Subscription, error: unknown): void {
    const told = toTailraceError(error);
    // the log has reported damage itself, once for all who meet it
    if (told.code !== 'log_damaged') this.#o.onReadError(error);
    const { session, sub } = subscription;
    session.notice({ type: 'error', sub, ...told.toProblem() });
    session.owner.onEnded(session, subscription, told.code, told.retryAfter);
  }
}
