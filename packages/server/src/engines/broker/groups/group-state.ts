import type { Receipt } from '../../../log/group-store.ts';
import type { LedgerAnswer, LedgerCall, LedgerRequest, LedgerResult, LedgerStatus } from '../../group-ledger.ts';
import { DueQueue } from './due-queue.ts';
import type { ToldLog } from './told-log.ts';

interface Hold {
  readonly epoch: number;
  readonly count: number;
  /** Undefined when nobody holds it. */
  readonly member: string | undefined;
  readonly due: number;
}

export interface SavedGroup {
  readonly filters: readonly string[];
  readonly next: number;
  readonly missed: number;
  /** Of each pending record: offset, epoch, count, due, and which member, of `members`; −1 for none. */
  readonly held: readonly number[];
  readonly members: readonly string[];
}

/** One call as the fold sees it. */
export interface CallContext {
  readonly log: ToldLog;
  /** The node has not noticed yet that the log went back. */
  readonly isBehind: boolean;
  readonly pendingMost: number;
  readonly now: number;
}

const savedFields = 5;

/** One group, as all nodes have it: a function of the calls so far and of nothing else. */
export class GroupState {
  readonly filters: readonly string[];
  next: number;
  #missed = 0;
  readonly #held = new Map<number, Hold>();
  readonly #due = new DueQueue();

  constructor(filters: readonly string[], next: number) {
    this.filters = filters;
    this.next = next;
  }

  run({ head, offer, requests }: LedgerCall, context: CallContext): LedgerAnswer {
    const { log, isBehind, now } = context;
    if (log.floor > this.next) {
      this.#missed += log.floor - this.next;
      this.next = log.floor;
    }
    const isOffered = !isBehind && offer.from <= this.next && offer.to <= head.offset;
    const fresh = isOffered ? offer.offsets : [];
    const round = { ...context, head: head.offset, fresh, at: 0, isFull: false };
    const results = requests.map(request => this.#serve(request, round));
    if (isOffered && round.at === fresh.length) this.next = Math.max(this.next, offer.to);
    const first = this.#firstDue();
    return {
      next: this.next,
      dueIn: first === undefined ? undefined : Math.max(0, first.due - now),
      isBehind,
      isFull: round.isFull,
      results,
    };
  }

  status(now: number): LedgerStatus {
    let due = 0;
    let oldest = Number.POSITIVE_INFINITY;
    for (const [offset, hold] of this.#held) {
      if (hold.due <= now) due++;
      if (offset < oldest) oldest = offset;
    }
    const pending = this.#held.size;
    return { next: this.next, pending, due, oldest: pending === 0 ? undefined : oldest, missed: this.#missed };
  }

  /** The log lost records: what the group had of them is gone with them. `epoch`: of `next`, before. */
  goBack(log: ToldLog, epoch: number): void {
    this.next = Math.min(this.next, log.endOf(epoch));
    for (const [offset, hold] of this.#held) if (offset > log.endOf(hold.epoch)) this.#held.delete(offset);
  }

  /** The log was made anew. */
  begin(next: number): void {
    this.next = next;
    this.#held.clear();
    this.#due.clear();
  }

  save(): SavedGroup {
    const members: string[] = [];
    const numbers = new Map<string, number>();
    const held: number[] = [];
    for (const [offset, { epoch, count, member, due }] of this.#held) {
      if (member !== undefined && !numbers.has(member)) numbers.set(member, members.push(member) - 1);
      held.push(offset, epoch, count, due, member === undefined ? -1 : numbers.get(member)!);
    }
    return { filters: this.filters, next: this.next, missed: this.#missed, held, members };
  }

  static from({ filters, next, missed, held, members }: SavedGroup): GroupState {
    const group = new GroupState(filters, next);
    group.#missed = missed;
    for (let at = 0; at < held.length; at += savedFields) {
      const [offset, epoch, count, due, member] = held.slice(at, at + savedFields) as [number, ...number[]];
      group.#hold(offset, { epoch: epoch!, count: count!, member: members[member!], due: due! });
    }
    return group;
  }

  #serve(request: LedgerRequest, round: Round): LedgerResult {
    if (request.kind === 'claim') return { claimed: this.#claim(request, round), held: [] };
    return { claimed: [], held: request.receipts.map(receipt => this.#settle(request, receipt, round.now)) };
  }

  #claim({ member, most, ms }: LedgerRequest & { readonly kind: 'claim' }, round: Round): readonly Receipt[] {
    const { log, isBehind, pendingMost, now, fresh } = round;
    const claimed: Receipt[] = [];
    const give = (offset: number, count: number): void => {
      const epoch = log.epochOf(offset);
      this.#hold(offset, { epoch, count, member, due: now + ms });
      claimed.push({ epoch, offset, count });
    };
    if (!isBehind) for (const offset of this.#takeDue(most, round)) give(offset, this.#held.get(offset)!.count + 1);
    while (round.at < fresh.length && claimed.length < most) {
      const offset = fresh[round.at]!;
      if (offset > this.next) {
        if (this.#held.size >= pendingMost) {
          round.isFull = true;
          break;
        }
        give(offset, 1);
        this.next = offset;
      }
      round.at++;
    }
    return claimed;
  }

  /** Up to `most` that are due, and that the node has read; those that the log has no more are missed. */
  #takeDue(most: number, { log, now, head }: Round): ReadonlySet<number> {
    const taken = new Set<number>();
    const unread: { readonly due: number; readonly offset: number }[] = [];
    while (taken.size < most) {
      const first = this.#firstDue();
      if (first === undefined || first.due > now) break;
      this.#due.shift();
      if (first.offset <= log.floor) {
        this.#held.delete(first.offset);
        this.#missed++;
      } else if (first.offset <= head) taken.add(first.offset);
      else unread.push(first);
    }
    for (const { due, offset } of unread) this.#due.push(due, offset);
    return taken;
  }

  #settle(
    { kind, member, ms }: LedgerRequest & { readonly kind: 'ack' | 'extend' | 'retry' },
    { epoch, offset, count }: Receipt,
    now: number,
  ): boolean {
    const hold = this.#held.get(offset);
    if (hold === undefined || hold.member !== member || hold.epoch !== epoch || hold.count !== count) return false;
    if (kind === 'ack') this.#held.delete(offset);
    else this.#hold(offset, { ...hold, due: now + ms, member: kind === 'retry' ? undefined : member });
    return true;
  }

  #hold(offset: number, hold: Hold): void {
    this.#held.set(offset, hold);
    // most of what is in it is acked long before it is due
    if (this.#due.size > 2 * this.#held.size + 1000) {
      this.#due.clear();
      for (const [held, { due }] of this.#held) this.#due.push(due, held);
    } else this.#due.push(hold.due, offset);
  }

  #firstDue(): { readonly due: number; readonly offset: number } | undefined {
    for (;;) {
      const { first } = this.#due;
      if (first === undefined || this.#held.get(first.offset)?.due === first.due) return first;
      this.#due.shift();
    }
  }
}

interface Round extends CallContext {
  readonly head: number;
  /** Offsets that match and that nobody had yet; those before `at` are given. */
  readonly fresh: readonly number[];
  at: number;
  isFull: boolean;
}
