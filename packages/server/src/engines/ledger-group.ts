import { type FilterSet, filterSet, TailraceError } from '@tailrace/protocol';
import {
  type Claim,
  type Delivery,
  type Group,
  type GroupOptions,
  type GroupStatus,
  groupDefaults,
  type Receipt,
} from '../log/group-store.ts';
import type { Log, Position } from '../log/log.ts';
import type { LogRecord } from '../log/record.ts';
import type { GroupLedger, LedgerAnswer, LedgerRequest, Offer } from './group-ledger.ts';

export interface LedgerGroupParts {
  readonly name: string;
  readonly options: GroupOptions;
  /** How far the group had come when it was opened. */
  readonly next: number;
  readonly log: Pick<Log, 'head' | 'rewinds' | 'read' | 'recordsAt' | 'positionOf'>;
  readonly ledger: GroupLedger;
  readonly onClose: () => void;
}

/** Records that one claim gets, at most. */
const claimMost = 1000;
/** Requests that a call of the ledger carries, and receipts of one and of all of them, at most: it serves nobody else meanwhile. */
const requestsMost = 128;
const receiptsMost = 1000;
const receiptsOfCall = 8000;
/** What is looked at for one offer: offsets, bytes of those that match, and how many these are, about. */
const offerSpan = 16_384;
const offerBytes = 1024 * 1024;
const offerMost = 1000;
/** How soon a node asks again for what is due, and not for this node yet, ms. */
const behindPause = 100;

interface Answer {
  readonly deliveries: readonly Delivery[];
  readonly held: readonly boolean[];
  readonly dueIn: number | undefined;
}

interface Waiting {
  readonly request: LedgerRequest;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** What matches, as this node's log has it just now. */
interface Look {
  readonly offer: Offer;
  readonly records: ReadonlyMap<number, LogRecord>;
  readonly head: Position;
  readonly rewinds: number;
}

/**
 * The members of one group on this node. What they ask goes to the ledger in batches, one of which is under way at a time;
 * the records of what they get are read from this node's log.
 *
 *    log ──► offer: what matches beyond `next` ──┐
 *    claims, acks, … of the members ─────────────┴─► ledger ──► receipts ──► with their records to the members
 */
export class LedgerGroup implements Group {
  readonly name: string;
  readonly filters: readonly string[];
  lastStatus: GroupStatus | undefined;
  readonly #parts: LedgerGroupParts;
  readonly #set: FilterSet;
  readonly #ackDeadline: number;
  #next: number;
  #queue: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(parts: LedgerGroupParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.filters = parts.options.filters;
    this.#set = filterSet(this.filters);
    this.#ackDeadline = parts.options.ackDeadline ?? groupDefaults.ackDeadline;
    this.#next = parts.next;
  }

  async claim(member: string, most: number): Promise<Claim> {
    const { deliveries, dueIn } = await this.#ask({
      kind: 'claim',
      member,
      most: Math.min(most, claimMost),
      ms: this.#ackDeadline,
    });
    return { deliveries, dueIn };
  }

  ack(member: string, receipts: readonly Receipt[]): Promise<readonly boolean[]> {
    return this.#tell('ack', member, receipts, 0);
  }

  extend(member: string, receipts: readonly Receipt[], ms: number = this.#ackDeadline): Promise<readonly boolean[]> {
    return this.#tell('extend', member, receipts, ms);
  }

  retry(member: string, receipts: readonly Receipt[], delayMs: number): Promise<readonly boolean[]> {
    return this.#tell('retry', member, receipts, delayMs);
  }

  async status(): Promise<GroupStatus> {
    const { log, ledger } = this.#parts;
    const status = await ledger.status();
    const { head } = log;
    const { time } = await log.positionOf(Math.min(status.next, head.offset));
    this.lastStatus = {
      ...status,
      lag: Math.max(0, head.offset - status.next),
      lagMs: Math.max(0, head.time - time),
    };
    return this.lastStatus;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    this.#parts.onClose();
  }

  async #tell(
    kind: 'ack' | 'extend' | 'retry',
    member: string,
    receipts: readonly Receipt[],
    ms: number,
  ): Promise<readonly boolean[]> {
    const answers: Promise<Answer>[] = [];
    for (let at = 0; at < receipts.length; at += receiptsMost)
      answers.push(this.#ask({ kind, member, receipts: receipts.slice(at, at + receiptsMost), ms }));
    return (await Promise.all(answers)).flatMap(({ held }) => held);
  }

  #ask(request: LedgerRequest): Promise<Answer> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', `group "${this.name}" is closed`));
    const answer = new Promise<Answer>((resolve, reject) => this.#queue.push({ request, resolve, reject }));
    this.#running ??= this.#run();
    return answer;
  }

  async #run(): Promise<void> {
    // what is asked in this turn of the event loop goes along
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#nextBatch();
      try {
        await this.#send(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = undefined;
  }

  #nextBatch(): readonly Waiting[] {
    let count = 0;
    for (let receipts = 0; count < Math.min(this.#queue.length, requestsMost); count++) {
      const { request } = this.#queue[count]!;
      receipts += request.kind === 'claim' ? 0 : request.receipts.length;
      if (receipts > receiptsOfCall && count > 0) break;
    }
    return this.#queue.splice(0, count);
  }

  async #send(asked: readonly Waiting[]): Promise<void> {
    const [look, batch] = await this.#lookFor(asked);
    const before = this.#next;
    const requests = batch.map(({ request }) => request);
    const answer = await this.#parts.ledger.run({ head: look.head, offer: look.offer, requests });
    this.#next = answer.next;
    const dueIn = answer.isBehind || answer.dueIn === 0 ? behindPause : answer.dueIn;
    const again: Waiting[] = [];
    const claims = batch.map(async (waiting, i) => {
      const { claimed, held } = answer.results[i]!;
      const { request, resolve, reject } = waiting;
      try {
        const deliveries = await this.#deliveries(request.member, claimed, look);
        const goesOn = deliveries.length === 0 && request.kind === 'claim' && this.#hasMore(answer, before, claimed);
        if (goesOn) again.push(waiting);
        else resolve({ deliveries, held, dueIn });
      } catch (error) {
        this.retry(request.member, claimed, 0).catch(() => {});
        reject(error);
      }
    });
    await Promise.all(claims);
    this.#queue.unshift(...again);
  }

  /** While the log cannot be read nothing can be claimed; the rest goes on. */
  async #lookFor(asked: readonly Waiting[]): Promise<[Look, readonly Waiting[]]> {
    const claims = asked.filter(({ request }) => request.kind === 'claim');
    const wanted = claims.reduce((sum, { request }) => sum + (request.kind === 'claim' ? request.most : 0), 0);
    try {
      return [await this.#look(wanted), asked];
    } catch (error) {
      for (const { reject } of claims) reject(error);
      return [await this.#look(0), asked.filter(({ request }) => request.kind !== 'claim')];
    }
  }

  /** Whether a claim that got nothing may get something at once: the group came on, and not yet to the head. */
  #hasMore(answer: LedgerAnswer, before: number, claimed: readonly Receipt[]): boolean {
    if (this.#closed || answer.isBehind) return false;
    if (claimed.length > 0) return true;
    return !answer.isFull && answer.next !== before && answer.next < this.#parts.log.head.offset;
  }

  /** What matches beyond `next`, about as much as is wanted. */
  async #look(wanted: number): Promise<Look> {
    const { log } = this.#parts;
    const from = this.#next;
    const { rewinds } = log;
    const end = wanted === 0 ? from : Math.min(log.head.offset, from + offerSpan);
    const records = new Map<number, LogRecord>();
    let to = from;
    let bytes = 0;
    while (to < end && records.size < Math.min(wanted, offerMost) && bytes < offerBytes) {
      const slice = await log.read(to, end, this.#set, offerBytes);
      // what was read before the log went back may not be in it any more
      if (log.rewinds !== rewinds) return this.#look(wanted);
      to = slice.next;
      for (const record of slice.records) {
        records.set(record.offset, record);
        bytes += record.weight;
        if (records.size < offerMost) continue;
        to = record.offset;
        break;
      }
    }
    return { offer: { from, to, offsets: [...records.keys()] }, records, head: log.head, rewinds };
  }

  /** The records of what was claimed; those that are not in the log any more are nobody's work. */
  async #deliveries(member: string, claimed: readonly Receipt[], look: Look): Promise<readonly Delivery[]> {
    const { log } = this.#parts;
    const records = new Map<number, LogRecord>();
    const elsewhere: number[] = [];
    for (const { offset } of claimed) {
      const record = look.records.get(offset);
      if (record === undefined) elsewhere.push(offset);
      else records.set(offset, record);
    }
    elsewhere.sort((a, b) => a - b);
    while (elsewhere.length > 0) {
      const some = await log.recordsAt(Float64Array.from(elsewhere), offerBytes);
      for (const record of some) records.set(record.offset, record);
      const last = some[some.length - 1]?.offset ?? Number.POSITIVE_INFINITY;
      while (elsewhere.length > 0 && elsewhere[0]! <= last) elsewhere.shift();
    }
    // the log went back meanwhile: whoever has these offsets now, they may be of other records
    if (log.rewinds !== look.rewinds) return [];
    const gone = claimed.filter(({ offset }) => !records.has(offset));
    if (gone.length > 0) this.ack(member, gone).catch(() => {});
    return claimed.flatMap(receipt => {
      const record = records.get(receipt.offset);
      return record === undefined ? [] : [{ ...receipt, record }];
    });
  }
}
