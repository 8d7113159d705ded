import type { FilterSet } from '@tailrace/protocol';
import type { Clock } from '../log/index.ts';
import { Block, type Blocks } from './blocks.ts';
import type { CatchUp } from './catch-up.ts';
import type { Encoding } from './encoding.ts';
import type { Deliveries } from './session.ts';
import type { Job, Slices } from './slices.ts';
import type { Subscription } from './subscription.ts';
import type { IndexTarget } from './topic-index.ts';
import type { VolatileTail } from './volatile.ts';

/** What a cohort needs from its hub. */
export interface CohortHost {
  readonly clock: Clock;
  readonly blocks: Blocks;
  readonly volatile: VolatileTail;
  readonly slices: Slices;
  readonly catchUp: CatchUp;
  readonly deliveries: Deliveries;
  /** Monotonic ms at which the record at `offset` was committed. */
  committedAt(offset: number): number;
  /**
   * The head when the present round of passes began. Passes look no further, so that cohorts with different filters,
   * which come one after another while more is committed, read the same stretch and share its block.
   */
  readonly roundHead: number;
  headOffset(): number;
  headTime(): number;
  token(offset: number, time: number): string;
}

/**
 * The live subscriptions with the same filters, label and encoding: one shared cursor, no list of messages.
 *
 *        offset (what members were told)      scanned (no match up to here)          head
 *  ────────┼───────────────────────────────────────┼──────────────────────────────────┼──▶ log
 *          └── members stand here                  └── the next block is looked for from here
 *
 * A pass takes the next block and writes that one buffer to each member. It can stop after any member and go on in the
 * next slice; `offset` moves only when it is complete, so whoever joins meanwhile stands where the pass began and is
 * appended behind, where the pass still comes by.
 */
export class Cohort implements IndexTarget, Job {
  readonly key: string;
  readonly sub: string;
  readonly filters: FilterSet;
  readonly encoding: Encoding;
  readonly members: Subscription[] = [];
  /** Its subscriptions that are not members now: lagging, catching up, or ahead of it. */
  readonly apart: Set<Subscription> = new Set();
  /** Those of them who have read all there is for them, and wait only to stand here or to be written to again. */
  readonly #resting = new Set<Subscription>();
  offset: number;
  time: number;
  scanned: number;
  /** The head when a record that matches was last committed; the head of its beginning, before one was. */
  #marked: number;
  /** Announced its cursor (by block, or by heartbeat) since the last beat. */
  moved = false;
  volatileSeen: number;
  volatileDirty = false;
  /** Monotonic ms of the commit that made it dirty, or that its next block begins with: what the brake looks at. */
  dirtySince = 0;
  #queued = false;
  #block: Block | null = null;
  /** Nothing that matches lies between `offset` and here: the block of the pass under way begins here. */
  #blockFrom = 0;
  #volatile = false;
  #at = 0;
  readonly #host: CohortHost;

  constructor(key: string, sub: string, filters: FilterSet, encoding: Encoding, host: CohortHost) {
    this.key = key;
    this.sub = sub;
    this.filters = filters;
    this.encoding = encoding;
    this.#host = host;
    this.offset = host.headOffset();
    this.time = host.headTime();
    this.scanned = this.offset;
    this.#marked = this.offset;
    this.volatileSeen = host.volatile.head;
  }

  /** Whether records of the log wait for its live members: a pass under way, or one to come. */
  get behind(): boolean {
    return this.members.length > 0 && (this.dirty || this.#delivering);
  }

  /** The pass under way brings records of the log, not class `none` or a cursor alone. */
  get #delivering(): boolean {
    return this.#block !== null && !this.#volatile && this.#block.count > 0;
  }

  /** A block is being written; its members stand partly before and partly behind it. */
  get passing(): boolean {
    return this.#block !== null;
  }

  /** A record that matches was committed beyond `scanned`. */
  get dirty(): boolean {
    return this.#marked > this.scanned;
  }

  get size(): number {
    return this.members.length + this.apart.size;
  }

  /** How many of those apart have read all there is for them. */
  get resting(): number {
    return this.#resting.size;
  }

  /** A record it reads was committed at `offset`. Hot. */
  mark(offset: number): void {
    if (this.#resting.size > 0) this.#endRest(offset);
    if (!this.dirty) {
      if (!this.#delivering) this.dirtySince = this.#host.committedAt(offset);
      // all between scanned and this record did not match, so the next pass need not look at it
      if (offset - 1 > this.scanned) this.scanned = offset - 1;
    }
    this.#marked = this.#host.headOffset();
    this.#enqueue();
  }

  markVolatile(): void {
    this.volatileDirty = true;
    this.#enqueue();
  }

  #enqueue(): void {
    if (this.#queued || this.members.length === 0) return;
    this.#queued = true;
    this.#host.slices.add(this);
  }

  /** Moves its cursor to the head when nothing matched in between, telling members by a `cursor` frame. */
  beat(): void {
    if (!this.moved && !this.dirty && this.#block === null && this.members.length > 0) {
      const offset = this.#host.headOffset();
      if (offset > this.offset) {
        const time = this.#host.headTime();
        const frame = {
          type: 'cursor',
          sub: this.sub,
          after: this.#host.token(this.offset, this.time),
          cursor: this.#host.token(offset, time),
        } as const;
        const bytes = this.encoding.notice(frame);
        this.scanned = offset;
        this.#start(new Block(bytes, 0, offset, time, undefined), offset);
        this.#enqueue();
      }
    }
    this.moved = false;
  }

  /**
   * Without members there is nobody whom its cursor means: then it stands at the head, and who reads on arrives there by
   * itself. Standing where its last member fell behind, it would hand old records to whoever begins `now`, and once
   * that member is back the brake would take one slow reader for a slow server.
   */
  follow(): void {
    if (this.members.length > 0 || this.#block !== null) return;
    this.offset = this.#host.headOffset();
    this.time = this.#host.headTime();
    this.scanned = this.offset;
    this.volatileSeen = this.#host.volatile.head;
    this.volatileDirty = false;
  }

  /** Nothing that matches has been committed beyond `offset`. */
  hasNothingBeyond(offset: number): boolean {
    return offset >= this.#marked;
  }

  /** One apart that has read all there is for it learns from the next record that matches how far that was so. */
  rest(subscription: Subscription): void {
    if (this.apart.has(subscription) && this.hasNothingBeyond(subscription.scanned)) this.#resting.add(subscription);
  }

  #endRest(offset: number): void {
    for (const subscription of this.#resting) if (offset - 1 > subscription.scanned) subscription.scanned = offset - 1;
    this.#resting.clear();
  }

  /** Takes a subscription whose cursor equals this one's. */
  join(subscription: Subscription): void {
    this.apart.delete(subscription);
    this.#resting.delete(subscription);
    subscription.index = this.members.length;
    this.members.push(subscription);
  }

  /** Lets a subscription go for good. */
  leave(subscription: Subscription): void {
    this.#takeOut(subscription);
    this.apart.delete(subscription);
    this.#resting.delete(subscription);
  }

  /** A member that this pass has not served reads on by its own cursor. */
  #part(member: Subscription): void {
    member.moveTo(this.offset, this.time);
    member.scanned = this.#block === null ? this.scanned : this.#blockFrom;
    this.#takeOut(member);
    this.#host.catchUp.fellBehind(member);
  }

  #takeOut(subscription: Subscription): void {
    const { index } = subscription;
    if (index < 0) return;
    const last = this.members.length - 1;
    let hole = index;
    if (this.#block !== null && index < this.#at) {
      // keep the served ones before #at, or the one swapped in would miss the block
      const lastServed = --this.#at;
      this.#place(this.members[lastServed]!, hole);
      hole = lastServed;
    }
    if (hole !== last) this.#place(this.members[last]!, hole);
    this.members.pop();
    subscription.index = -1;
  }

  #place(subscription: Subscription, index: number): void {
    this.members[index] = subscription;
    subscription.index = index;
  }

  #start(block: Block, from: number, volatile = false): void {
    this.#block = block;
    this.#blockFrom = from;
    this.#volatile = volatile;
    this.#at = 0;
    // a pass without stored records is as old as itself, not as the last one that had some
    if (!this.dirty && (volatile || block.count === 0)) this.dirtySince = this.#host.clock.monotonic();
  }

  step(slice: Slices): boolean {
    if (this.#block === null && !this.#nextBlock()) {
      // what was committed since the round began is for the next one
      this.#queued = this.members.length > 0 && (this.dirty || this.volatileDirty);
      return this.#queued;
    }
    const block = this.#block!;
    const { bytes } = block;
    const { members } = this;
    const { deliveries } = this.#host;
    while (this.#at < members.length) {
      const member = members[this.#at]!;
      const { session } = member;
      if (session.lagging) {
        if (this.#volatile) {
          deliveries.dropped += block.count;
          this.#at++;
        } else {
          this.#part(member);
        }
        continue;
      }
      this.#at++;
      session.write(bytes, block);
      deliveries.writes++;
      deliveries.records += block.count;
      deliveries.bytes += bytes.length;
      if (slice.spent(bytes.length) && this.#at < members.length) return true;
    }
    this.#finish(block);
    if (this.members.length > 0 && (this.dirty || this.volatileDirty)) return true;
    this.#queued = false;
    return false;
  }

  /** False when there is nothing to write. */
  #nextBlock(): boolean {
    const head = this.#host.roundHead;
    while (this.dirty && this.scanned < head && this.members.length > 0) {
      const block = this.#host.blocks.hot(this.encoding, this.sub, this.filters, this, this.scanned, head);
      if (block === undefined) {
        this.#scatter();
        break;
      }
      const from = this.scanned;
      this.scanned = block.next;
      if (block.count > 0) {
        this.#start(block, from);
        return true;
      }
    }
    if (this.volatileDirty && this.members.length > 0) {
      const volatileHead = this.#host.volatile.head;
      this.volatileDirty = false;
      const block = this.#host.volatile.block(this.encoding, this.sub, this.filters, this.volatileSeen);
      this.volatileSeen = block.next;
      if (this.volatileSeen < volatileHead) this.volatileDirty = true;
      if (block.count > 0) {
        this.#start(block, this.scanned, true);
        return true;
      }
    }
    return false;
  }

  #finish(block: Block): void {
    this.#block = null;
    if (this.#volatile) {
      if (this.apart.size > 0) this.#host.catchUp.cohortMoved(this); // who came ahead waited for this pass to end
      return;
    }
    this.offset = block.next;
    this.time = block.nextTime;
    this.moved = true;
    if (this.dirty) this.dirtySince = this.#host.committedAt(this.scanned + 1);
    if (block.ended !== undefined)
      for (const member of [...this.members]) this.#host.catchUp.checkEnded(member, block.ended);
    // those who were ahead read on by themselves from here: their cursor may lie inside the block
    if (this.apart.size > 0) this.#host.catchUp.cohortMoved(this);
  }

  /** The cohort itself fell below the hot tail: each member reads on by its own cursor, sharing what is read. */
  #scatter(): void {
    while (this.members.length > 0) this.#part(this.members[this.members.length - 1]!);
    this.offset = this.#host.headOffset();
    this.time = this.#host.headTime();
    this.scanned = this.offset;
    this.#host.catchUp.cohortMoved(this);
  }
}
