import {
  type Clock,
  covers,
  type Dropped,
  Gate,
  type Log,
  laterDropped,
  type Place,
  type Position,
  type Tokens,
} from '../log/index.ts';
import { beginAnew } from './anew.ts';
import { Block, type Blocks } from './blocks.ts';
import type { Cohort } from './cohort.ts';
import { haveEnded } from './ended.ts';
import type { LagRule } from './lag-rules.ts';
import { type Newest, NewestList } from './newest.ts';
import { Pins } from './pins.ts';
import type { Session } from './session.ts';
import type { Slices } from './slices.ts';
import type { Subscription } from './subscription.ts';

export interface CatchUpOptions {
  readonly log: Log;
  readonly blocks: Blocks;
  readonly newest: Newest;
  readonly tokens: Tokens;
  readonly slices: Slices;
  readonly clock: Clock;
  readonly lagRules: readonly LagRule[];
  /** Bytes of distinct blocks that unfinished writes may hold (I5). */
  readonly pinnedMax: number;
  /** An unfinished write without progress for so long cuts its session, ms. */
  readonly stallMax: number;
  readonly onReadError: (subscription: Subscription, error: unknown) => void;
}

/**
 * Reads of the log that are under way at once, for all who read below the hot tail. What a read holds of the log until
 * its block is made is not in the budget, and may be many times the block (1,000 readers: 560 MB without this bound).
 */
const readsMax = 8;

const noBytes = Buffer.alloc(0);

/** In place of the bytes left, before the first sweep. */
const notSwept = -1;

/**
 * Subscriptions that do not stand with their cohort: each reads on by its own cursor, one shared block at a time, and
 * rejoins when its cursor equals the cohort's.
 *
 *   live ──(a write is unfinished at the next pass)──▶ apart ──▶ read block ──▶ write ──▶ finished? ─┐
 *     ▲                                                  ▲                                           │
 *     └───────(cursor equals the cohort's)───────────────┴────────────────(not yet)──────────────────┘
 */
export class CatchUp {
  /** Sessions whose outlet is unfinished, with the bytes that it had left at the last sweep. */
  readonly lagging: Map<Session, number> = new Map();
  readonly #pins: Pins;
  readonly #reads = new Gate(readsMax);
  readonly #o: CatchUpOptions;

  constructor(options: CatchUpOptions) {
    this.#o = options;
    this.#pins = new Pins(options.pinnedMax, this.lagging, session => this.#cut(session));
  }

  /** Bytes of distinct blocks that unfinished writes hold. */
  get pinnedBytes(): number {
    return this.#pins.bytes;
  }

  /** The outlet did not finish what was just written. */
  lag(session: Session, block: Block | null): void {
    session.lagging = true;
    session.noProgressSince = this.#o.clock.monotonic();
    this.lagging.set(session, notSwept);
    if (block !== null) this.#pins.pin(session, block);
    session.outlet.whenFinished(session);
  }

  finished(session: Session): void {
    this.#pins.unpin(session);
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
    subscription.cohort.rest(subscription);
    subscription.session.part(subscription);
    this.#queue(subscription.session);
  }

  /** The cohort's cursor moved: those that were ahead of it may go on. */
  cohortMoved(cohort: Cohort): void {
    for (const subscription of cohort.apart) this.#queue(subscription.session);
  }

  forget(session: Session): void {
    this.#pins.unpin(session);
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
        if (session.lagging || session.closed) break;
        session.queued = true;
        return true;
      }
    }
    for (const subscription of session.apart) subscription.cohort.rest(subscription);
    return false;
  }

  /** Writes at most one buffer; returns its bytes, 0 when the subscription has to wait, 1 when it merely moved. */
  #advance(subscription: Subscription): number {
    const { session, cohort } = subscription;
    if (subscription.reading) return 0;
    if (subscription.snapshot !== undefined) return this.#goOnNewest(subscription);
    cohort.follow();
    if (subscription.offset > cohort.offset) return this.#waitAhead(subscription);
    if (subscription.offset === cohort.offset) {
      const bytes = this.#tellTime(subscription) + (subscription.owesLive ? this.#tellLive(subscription) : 1);
      this.#join(subscription);
      return bytes;
    }
    if (subscription.scanned >= cohort.offset || cohort.hasNothingBeyond(subscription.scanned))
      return this.#deliver(subscription, new Block(noBytes, 0, cohort.offset, cohort.time, undefined));
    if (this.#skips(subscription)) {
      this.#skip(subscription);
      return 0;
    }
    const { sub, filters, scanned } = subscription;
    const block = this.#o.blocks.hot(session.encoding, sub, filters, subscription, scanned, cohort.offset);
    return block === undefined ? this.#readCold(subscription, undefined) : this.#deliver(subscription, block);
  }

  #deliver(subscription: Subscription, block: Block): number {
    const { session } = subscription;
    if (this.#tellDropped(subscription, block.dropped)) return 1;
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
    subscription.moveTo(block.next, block.nextTime);
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
      subscription.moveTo(cohort.offset, cohort.time);
      this.#join(subscription);
      return bytes;
    }
    return subscription.owesLive ? this.#tellLive(subscription) : 0;
  }

  /** Below the hot tail; `list` is that of a snapshot, wherever its records are. */
  #readCold(subscription: Subscription, list: NewestList | undefined): number {
    const { session } = subscription;
    const { blocks } = this.#o;
    const kept = blocks.kept(session.encoding, subscription, list);
    if (kept !== undefined) {
      const bytes = this.#deliver(subscription, kept);
      this.#endSnapshot(subscription, list);
      return bytes;
    }
    const read = (): Promise<Block | Position> | undefined =>
      subscription.closed || session.lagging ? undefined : blocks.cold(session.encoding, subscription, list);
    this.#await(
      subscription,
      this.#reads.run(async () => read()),
      found => {
        if (found instanceof Block) this.#deliver(subscription, found);
        else if (found !== undefined) this.#tellGap(subscription, found, 'trimmed');
        this.#endSnapshot(subscription, list);
      },
    );
    return 0;
  }

  #endSnapshot(subscription: Subscription, list: NewestList | undefined): void {
    if (list !== undefined && subscription.offset >= list.to.offset) subscription.snapshot = undefined;
  }

  #tellGap(subscription: Subscription, to: Place, reason: 'trimmed' | 'lagging'): void {
    const { session, sub, offset, time } = subscription;
    const { tokens } = this.#o;
    const after = tokens.of(offset, time);
    session.notice({ type: 'gap', sub, after, cursor: tokens.of(to.offset, to.time), reason });
    subscription.moveTo(to.offset, to.time);
  }

  /** Tells once what rules have dropped where it reads; true when what was read has to wait. */
  #tellDropped(subscription: Subscription, dropped: Dropped): boolean {
    const { told, scanned, session, sub } = subscription;
    const { log, tokens, newest } = this.#o;
    if (dropped.records <= Math.max(scanned, told.records)) return false;
    if (dropped.deletions <= Math.max(scanned, told.deletions)) {
      subscription.told = laterDropped(told, dropped);
      this.#tellGap(subscription, subscription, 'trimmed');
      // `finished` queues it again, and it has been told by then
      return session.lagging;
    }
    const { filters } = subscription;
    const anew = beginAnew(log, filters, dropped.deletions, to => newest.of(filters, { count: undefined, to }));
    this.#await(subscription, anew, ({ at, snapshot }) => {
      subscription.told = laterDropped(told, dropped);
      session.notice({ type: 'reset', sub, cursor: tokens.of(at.offset, at.time), reason: 'compacted' });
      subscription.jumpTo(at.offset, at.time);
      subscription.snapshot = snapshot?.snapshot;
      subscription.owesLive = true;
    });
    return true;
  }

  /** Waits for something out of the log and uses it, unless the subscription is gone or its outlet unfinished by then. */
  #await<T>(subscription: Subscription, promise: Promise<T>, use: (found: T) => void): void {
    const { session } = subscription;
    subscription.reading = true;
    promise.then(
      found => {
        subscription.reading = false;
        if (subscription.closed || session.lagging) return; // `finished` queues it again, and it is asked for anew
        use(found);
        subscription.cohort.rest(subscription);
        this.#queue(session);
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

  /** Policy `last`: a gap, then the newest record of each topic and of each key of tables, then on from there. */
  #skip(subscription: Subscription): void {
    this.#await(
      subscription,
      Promise.resolve(this.#o.newest.changes(subscription.filters, subscription.offset)),
      list => {
        const { offset, time } = subscription;
        const { inOrder } = this.#o.log.places;
        const first = list.offsets[inOrder ? list.indexAfter(offset) : 0];
        if (first !== undefined) {
          const to = inOrder ? Math.max(offset, first - 1) : first - 1;
          this.#tellGap(subscription, { offset: to, time }, 'lagging');
        }
        subscription.behindSince = this.#o.clock.monotonic();
        subscription.snapshot = list.snapshot;
      },
    );
  }

  #goOnNewest(subscription: Subscription): number {
    const list = this.#o.newest.of(subscription.filters, subscription.snapshot!);
    if (list instanceof NewestList) {
      subscription.snapshot = list.snapshot;
      return this.#readCold(subscription, list);
    }
    // what it goes on with is looked for once the list is kept
    this.#await(subscription, list, () => {});
    return 0;
  }

  /** Tells a subscription that names only exact topics of those that ended; at the last one it is over. */
  checkEnded(subscription: Subscription, ended: readonly string[]): void {
    const { filters } = subscription;
    const { exact } = filters;
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
    }
    if (haveEnded(this.#o.log, filters, cursor.offset))
      subscription.session.owner.onEnded(subscription.session, subscription, 'topic_ended');
  }

  /** Cuts who made no progress, and who lags beyond what a rule allows. Called by the beat. */
  sweep(): void {
    const now = this.#o.clock.monotonic();
    for (const [session, before] of this.lagging) {
      const { left } = session.outlet;
      if (left !== before) {
        if (before !== notSwept) session.noProgressSince = now;
        this.lagging.set(session, left);
      }
      if (now - session.noProgressSince > this.#o.stallMax) {
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

  #cut(session: Session): void {
    this.#pins.unpin(session);
    session.owner.onCut(session, 'pinned');
  }
}
