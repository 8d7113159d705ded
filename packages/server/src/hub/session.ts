import type { ErrorCode, ServerFrame } from '@tailrace/protocol';
import type { Block } from './blocks.ts';
import type { CatchUp } from './catch-up.ts';
import type { Encoding } from './encoding.ts';
import type { FinishWaiter, Outlet } from './outlet.ts';
import type { Job, Slices } from './slices.ts';
import type { Subscription } from './subscription.ts';

/** Told by the hub to whoever owns the connection. */
export interface SessionOwner {
  /** The hub gave up on this session (policy, stall, budget): send `error` if that is still possible, and cut. */
  onCut(session: Session, reason: CutReason): void;
  /**
   * A subscription came to its end: every topic it names has ended, or the log could not be read (told already), and it
   * makes no sense to come back within `retryAfter` ms.
   */
  onEnded(session: Session, subscription: Subscription, code: ErrorCode, retryAfter?: number): void;
  /** The outlet finished what it held; a transport that stopped reading its client goes on. */
  onFinished?(session: Session): void;
}

/** Running totals of what was handed to outlets; `dropped` counts records of class `none` that a lagging one missed. */
export interface Deliveries {
  records: number;
  writes: number;
  bytes: number;
  dropped: number;
}

export type CutReason = 'lagging' | 'stalled' | 'pinned' | 'rewound';

const none: readonly Subscription[] = Object.freeze([]);

/** One connected client: its outlet and its subscriptions. Lives exactly as long as its connection (I7). */
export class Session implements FinishWaiter, Job {
  readonly id: string;
  /** Name of the transport, for metrics and the session list. */
  readonly transport: string;
  readonly outlet: Outlet;
  readonly encoding: Encoding;
  readonly owner: SessionOwner;
  /** Replaced when it changes: an array that grew by `push` keeps room for 16 more, in every idle session. */
  subscriptions: readonly Subscription[] = none;
  /** Subscriptions that read by their own cursor. */
  apart: readonly Subscription[] = none;
  /** The outlet's last buffer is unfinished: nothing may be written until `finished`. */
  lagging = false;
  /** The shared block that the socket has not finished. */
  pinned: Block | null = null;
  /** Something was written since the gateway last looked whether to send a heartbeat. */
  wrote = false;
  /** Monotonic ms since which the unfinished write has made no progress. */
  noProgressSince = 0;
  queued = false;
  closed = false;
  readonly #catchUp: CatchUp;
  readonly #deliveries: Deliveries;

  constructor(
    id: string,
    transport: string,
    outlet: Outlet,
    encoding: Encoding,
    owner: SessionOwner,
    catchUp: CatchUp,
    deliveries: Deliveries,
  ) {
    this.id = id;
    this.transport = transport;
    this.outlet = outlet;
    this.encoding = encoding;
    this.owner = owner;
    this.#catchUp = catchUp;
    this.#deliveries = deliveries;
  }

  find(sub: string): Subscription | undefined {
    return this.subscriptions.find(subscription => subscription.sub === sub);
  }

  add(subscription: Subscription): void {
    this.subscriptions = [...this.subscriptions, subscription];
  }

  remove(subscription: Subscription): void {
    this.rejoin(subscription);
    this.subscriptions = without(this.subscriptions, subscription);
  }

  /** It reads by its own cursor from now. */
  part(subscription: Subscription): void {
    this.apart = [...this.apart, subscription];
  }

  /** It stands with its cohort again. */
  rejoin(subscription: Subscription): void {
    this.apart = without(this.apart, subscription);
  }

  /** The next of those apart, each in its turn. */
  nextApart(): Subscription {
    const [first, ...others] = this.apart;
    if (others.length > 0) this.apart = [...others, first!];
    return first!;
  }

  /** Writes one frame now. For answers and notices only: records go through cohorts and catch-up. */
  notice(frame: ServerFrame): void {
    this.write(this.encoding.notice(frame), null);
  }

  /** Writes one buffer and notes when the outlet has not finished it. Hot. */
  write(bytes: Buffer, block: Block | null): void {
    const { outlet } = this;
    outlet.write(bytes);
    this.wrote = true;
    if (outlet.unfinished !== 0 && !this.lagging) this.#catchUp.lag(this, block);
  }

  /** Counts what catch-up delivered. */
  delivered(records: number, bytes: number): void {
    this.#deliveries.records += records;
    this.#deliveries.bytes += bytes;
    this.#deliveries.writes++;
  }

  finished(): void {
    this.#catchUp.finished(this);
  }

  step(slice: Slices): boolean {
    return this.#catchUp.step(this, slice);
  }
}

function without(list: readonly Subscription[], subscription: Subscription): readonly Subscription[] {
  if (!list.includes(subscription)) return list;
  return list.length === 1 ? none : list.filter(other => other !== subscription);
}
