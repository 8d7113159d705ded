import { matchFilter } from '@tailrace/protocol';
import type { Clock, Log, LogRecord } from '../log/index.ts';
import { type Block, type Blocks, blockBytes, endedTopics } from './blocks.ts';
import type { Cohort } from './cohort.ts';
import type { CutReason, Session } from './session.ts';
import type { Slices } from './slices.ts';
import type { Subscription } from './subscription.ts';
import type { Tokens } from './tokens.ts';

/** What becomes of a subscriber that fell behind its cohort: read on, newest of each topic, or cut. */
export type LagPolicy = 'replay' | 'last' | 'disconnect';

export interface LagRule {
  readonly filter: string;
  readonly policy: LagPolicy;
  /** How long it may be behind before the policy applies, ms. */
  readonly after: number;
}

export interface CatchUpOptions {
  readonly log: Log;
  readonly blocks: Blocks;
  readonly tokens: Tokens;
  readonly slices: Slices;
  readonly clock: Clock;
  readonly lagRules: readonly LagRule[];
  /** Bytes of distinct blocks that unfinished writes may hold (I5). */
  readonly pinnedMax: number;
  /** An unfinished write older than this cuts its session, ms. */
  readonly stallMax: number;
  readonly onReadError: (subscription: Subscription, error: unknown) => void;
}

/**
 * Subscriptions that do not stand with their cohort: each reads on by its own cursor, one shared block at a time, and
 * rejoins when its cursor equals the cohort's.
 *
 *   live ──(a write is unfinished at the next pass)──▶ apart ──▶ read block ──▶ write ──▶ finished? ─┐
 *     ▲                                                  ▲                                           │
 *     └───────(cursor equals the cohort's)───────────────┴────────────────(not yet)──────────────────┘
 */
export class CatchUp {
  /** Sessions whose outlet is unfinished. */
  readonly lagging: Set<Session> = new Set();
  pinnedBytes = 0;
  readonly #pinned = new Set<Block>();
  readonly #o: CatchUpOptions;

  constructor(options: CatchUpOptions) {
    this.#o = options;
  }

  /** The outlet did not finish what was just written. */
  lag(session: Session, block: Block | null): void {
    session.lagging = true;
    session.laggingSince = this.#o.clock.monotonic();
    this.lagging.add(session);
    if (block !== null) this.#pin(session, block);
    session.outlet.whenFinished(session);
  }

  finished(session: Session): void {
    this.#unpin(session);
    if (session.closed || !session.lagging) return;
    session.lagging = false;
    this.lagging.delete(session);
    if (session.apart.length > 0) this.#queue(session);
    session.owner.onFinished?.(session);
  }

  /** A cohort's pass found the outlet of this member unfinished. */
  fellBehind(subscription: Subscription): void {
    subscription.behindSince = this.#o.clock.monotonic();
    subscription.owesLive = true;
    this.begin(subscription);
  }

  /** Lets a subscription read on by its own cursor from now. */
  begin(subscription: Subscription): void {
    subscription.cohort.apart.add(subscription);
    subscription.session.part(subscription);
    this.#queue(subscription.session);
  }

  /** The cohort's cursor moved: those that were ahead of it may go on. */
  cohortMoved(cohort: Cohort): void {
    for (const subscription of cohort.apart) this.#queue(subscription.session);
  }

  forget(session: Session): void {
    this.#unpin(session);
    this.lagging.delete(session);
  }

  step(session: Session, slice: Slices): boolean {
    session.queued = false;
    let idle = 0;
    while (!session.closed && !session.lagging && idle < session.apart.length) {
      const subscription = session.nextApart();
      const wrote = this.#advance(subscription);
      idle = wrote === 0 ? idle + 1 : 0;
      if (wrote > 0 && slice.spent(wrote)) {
        if (session.lagging || session.closed) return false;
        session.queued = true;
        return true;
      }
    }
    return false;
  }

  /** Writes at most one buffer; returns its bytes, 0 when the subscription has to wait, 1 when it merely moved. */
  #advance(subscription: Subscription): number {
    const { session, cohort } = subscription;
    if (subscription.reading) return 0;
    if (subscription.snapshot !== undefined) return this.#writeSnapshot(subscription);
    cohort.follow();
    if (subscription.offset > cohort.offset) return this.#waitAhead(subscription);
    if (subscription.offset === cohort.offset) {
      const bytes = this.#tellTime(subscription) + (subscription.owesLive ? this.#tellLive(subscription) : 1);
      this.#join(subscription);
      return bytes;
    }
    if (this.#skips(subscription)) {
      this.#readLast(subscription);
      return 0;
    }
    const { encoding } = session;
    const target = cohort.offset;
    const block = this.#o.blocks.hot(
      encoding,
      subscription.sub,
      subscription.filters,
      subscription,
      subscription.offset,
      target,
    );
    if (block === undefined) {
      this.#readCold(subscription);
      return 0;
    }
    return this.#deliver(subscription, block);
  }

  #deliver(subscription: Subscription, block: Block): number {
    const { session } = subscription;
    let bytes = block.bytes.length;
    if (block.count > 0) {
      session.write(block.bytes, block);
      session.delivered(block.count, bytes);
    } else if (session.encoding.wrap !== null && block.next > subscription.offset) {
      const { tokens } = this.#o;
      const cursor = session.encoding.notice({
        type: 'cursor',
        sub: subscription.sub,
        after: tokens.of(subscription.offset, subscription.time),
        cursor: tokens.of(block.next, block.nextTime),
      });
      session.write(cursor, null);
      bytes = cursor.length;
    }
    subscription.offset = block.next;
    subscription.time = block.nextTime;
    if (block.ended !== undefined) this.checkEnded(subscription, block.ended);
    return Math.max(1, bytes);
  }

  /**
   * Two cursors at one offset may carry different times: one was read off a log whose records up to there are gone, or
   * a client made it up. What follows is the cohort's chain, so the step onto it is told.
   */
  #tellTime(subscription: Subscription): number {
    const { session, cohort, sub, offset, time } = subscription;
    if (time === cohort.time) return 0;
    subscription.time = cohort.time;
    if (session.encoding.wrap === null) return 0;
    const { tokens } = this.#o;
    const after = tokens.of(offset, time);
    const bytes = session.encoding.notice({ type: 'cursor', sub, after, cursor: tokens.of(offset, cohort.time) });
    session.write(bytes, null);
    return bytes.length;
  }

  #tellLive(subscription: Subscription): number {
    const { session, sub } = subscription;
    const bytes = session.encoding.notice({
      type: 'live',
      sub,
      cursor: this.#o.tokens.of(subscription.offset, subscription.time),
    });
    subscription.owesLive = false;
    session.write(bytes, null);
    return bytes.length;
  }

  #join(subscription: Subscription): void {
    const { session, cohort } = subscription;
    subscription.behindSince = 0;
    session.rejoin(subscription);
    cohort.join(subscription);
  }

  /** Its cursor is ahead of the cohort's, which has a pass to make first or nothing new to announce. */
  #waitAhead(subscription: Subscription): number {
    const { cohort, session } = subscription;
    if (cohort.passing) return 0;
    if (cohort.dirty) return 0; // the cohort's next pass queues it again
    if (session.encoding.wrap === null) {
      // nothing matched in between and no chain of cursors to break: it stands where the cohort stands
      const bytes = subscription.owesLive ? this.#tellLive(subscription) : 1;
      subscription.offset = cohort.offset;
      subscription.time = cohort.time;
      this.#join(subscription);
      return bytes;
    }
    return subscription.owesLive ? this.#tellLive(subscription) : 0;
  }

  #readCold(subscription: Subscription): void {
    const { session } = subscription;
    subscription.reading = true;
    this.#o.blocks.cold(session.encoding, subscription.sub, subscription.filters, subscription).then(
      ({ block, trimmedTo }) => {
        subscription.reading = false;
        if (subscription.closed || session.lagging) return; // `finished` queues it again, and the block is read anew
        if (trimmedTo !== undefined) {
          const { tokens } = this.#o;
          session.notice({
            type: 'gap',
            sub: subscription.sub,
            after: tokens.of(subscription.offset, subscription.time),
            cursor: tokens.of(trimmedTo.offset, trimmedTo.time),
            reason: 'trimmed',
          });
          subscription.offset = trimmedTo.offset;
          subscription.time = trimmedTo.time;
        } else this.#deliver(subscription, block!);
        if (!session.closed) this.#queue(session);
      },
      (error: unknown) => {
        subscription.reading = false;
        if (!subscription.closed) this.#o.onReadError(subscription, error);
      },
    );
  }

  #skips(subscription: Subscription): boolean {
    if (subscription.behindSince === 0) return false;
    const rule = this.lagRule(subscription);
    return rule?.policy === 'last' && this.#o.clock.monotonic() - subscription.behindSince > rule.after;
  }

  /** Policy `last`: a gap, then the newest record of each topic, then on from the head. */
  #readLast(subscription: Subscription): void {
    const { session } = subscription;
    const { log, tokens } = this.#o;
    const to = log.head;
    subscription.reading = true;
    log.last(subscription.filters, 1, to.offset).then(
      all => {
        subscription.reading = false;
        if (subscription.closed) return;
        const records = all.filter(record => record.offset > subscription.offset);
        const first = records[0];
        const resume =
          first === undefined
            ? to
            : { offset: Math.max(subscription.offset, first.offset - 1), time: subscription.time };
        session.notice({
          type: 'gap',
          sub: subscription.sub,
          after: tokens.of(subscription.offset, subscription.time),
          cursor: tokens.of(resume.offset, resume.time),
          reason: 'lagging',
        });
        subscription.offset = resume.offset;
        subscription.time = resume.time;
        subscription.behindSince = this.#o.clock.monotonic();
        if (records.length > 0) subscription.snapshot = { records, at: 0, to: to.offset, toTime: to.time };
        if (!session.lagging) this.#queue(session);
      },
      (error: unknown) => {
        subscription.reading = false;
        if (!subscription.closed) this.#o.onReadError(subscription, error);
      },
    );
  }

  #writeSnapshot(subscription: Subscription): number {
    const { session } = subscription;
    const { encoding } = session;
    const { tokens } = this.#o;
    const snapshot = subscription.snapshot!;
    const records: LogRecord[] = [];
    let weight = 0;
    while (snapshot.at < snapshot.records.length && weight < blockBytes) {
      const record = snapshot.records[snapshot.at++]!;
      records.push(record);
      weight += record.weight;
    }
    const done = snapshot.at === snapshot.records.length;
    const newest = records[records.length - 1];
    const next = done || newest === undefined ? { offset: snapshot.to, time: snapshot.toTime } : newest;
    const after = tokens.of(subscription.offset, subscription.time);
    let bytes = encoding.body(records, true);
    if (encoding.wrap !== null)
      bytes = encoding.wrap(bytes, subscription.sub, after, tokens.of(next.offset, next.time));
    subscription.offset = next.offset;
    subscription.time = next.time;
    if (done) subscription.snapshot = undefined;
    session.write(bytes, null);
    session.delivered(records.length, bytes.length);
    const ended = done ? endedTopics(snapshot.records) : undefined;
    if (ended !== undefined) this.checkEnded(subscription, ended);
    return Math.max(1, bytes.length);
  }

  /** Tells a subscription that names only exact topics of those that ended; at the last one it is over. */
  checkEnded(subscription: Subscription, ended: readonly string[]): void {
    const { exact } = subscription.filters;
    if (exact === null || subscription.closed) return;
    const cursor = subscription.index >= 0 ? subscription.cohort : subscription;
    for (const topic of ended) {
      if (!exact.has(topic)) continue;
      subscription.session.notice({
        type: 'end',
        sub: subscription.sub,
        topic,
        cursor: this.#o.tokens.of(cursor.offset, cursor.time),
      });
      subscription.endedTopics++;
    }
    if (subscription.endedTopics >= exact.size)
      subscription.session.owner.onEnded(subscription.session, subscription, 'topic_ended');
  }

  /** Cuts who made no progress, and who lags beyond what a rule allows. Called by the beat. */
  sweep(): void {
    const now = this.#o.clock.monotonic();
    for (const session of this.lagging) {
      if (now - session.laggingSince > this.#o.stallMax) {
        session.owner.onCut(session, 'stalled');
        continue;
      }
      if (this.#o.lagRules.length === 0) continue;
      for (const subscription of session.apart) {
        if (subscription.behindSince === 0) continue;
        const rule = this.lagRule(subscription);
        if (rule?.policy === 'disconnect' && now - subscription.behindSince > rule.after) {
          session.owner.onCut(session, 'lagging');
          break;
        }
      }
    }
  }

  /** The first rule that covers every filter of the subscription. */
  lagRule(subscription: Subscription): LagRule | undefined {
    return this.#o.lagRules.find(rule => subscription.filters.filters.every(filter => covers(rule.filter, filter)));
  }

  #queue(session: Session): void {
    if (session.queued || session.lagging || session.closed) return;
    session.queued = true;
    this.#o.slices.add(session);
  }

  #pin(session: Session, block: Block): void {
    session.pinned = block;
    if (block.pins++ > 0) return;
    this.#pinned.add(block);
    this.pinnedBytes += block.bytes.length;
    if (this.pinnedBytes > this.#o.pinnedMax) this.#cutOldest();
  }

  #unpin(session: Session): void {
    const block = session.pinned;
    if (block === null) return;
    session.pinned = null;
    if (--block.pins > 0) return;
    this.#pinned.delete(block);
    this.pinnedBytes -= block.bytes.length;
  }

  // they resume by cursor: cutting costs them a reconnect, keeping them would cost everybody memory
  #cutOldest(): void {
    for (const block of this.#pinned) {
      for (const session of this.lagging) {
        if (session.pinned === block) this.#cut(session, 'pinned');
      }
      if (this.pinnedBytes <= this.#o.pinnedMax) return;
    }
  }

  #cut(session: Session, reason: CutReason): void {
    this.#unpin(session);
    session.owner.onCut(session, reason);
  }
}

/** Whether every topic that `filter` matches is matched by `rule` too. */
export function covers(rule: string, filter: string): boolean {
  if (filter.endsWith('#') && !rule.endsWith('#')) return false;
  return matchFilter(rule, filter);
}
