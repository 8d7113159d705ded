import type { Receipt } from '../log/group-store.ts';

/**
 * What the server behind a log keeps of one group: how far it has come, and who holds which offset until when. It never
 * looks at records: a node that wants new ones offers the offsets that match, as it read them from its log.
 */
export interface GroupLedger {
  /** Does all that is asked, in order and as one, exactly once even where it has to be sent again. */
  run(asked: LedgerCall): Promise<LedgerAnswer>;
  status(): Promise<LedgerStatus>;
}

export interface LedgerCall {
  /** The newest record that this node has read: it gets none beyond, and none at all when that is not in the log any more. */
  readonly head: { readonly epoch: number; readonly offset: number };
  readonly offer: Offer;
  readonly requests: readonly LedgerRequest[];
}

/** All offsets in (from, to] that match. */
export interface Offer {
  readonly from: number;
  readonly to: number;
  readonly offsets: readonly number[];
}

export type LedgerRequest =
  | { readonly kind: 'claim'; readonly member: string; readonly most: number; readonly ms: number }
  | {
      readonly kind: 'ack' | 'extend' | 'retry';
      readonly member: string;
      readonly receipts: readonly Receipt[];
      readonly ms: number;
    };

export interface LedgerAnswer {
  /** How far the group has come. */
  readonly next: number;
  /** See `Claim.dueIn`. */
  readonly dueIn: number | undefined;
  /** Nothing could be claimed: this node has not noticed yet that the log went back. */
  readonly isBehind: boolean;
  /** Nothing new could be claimed: as many records as a group may hold are pending. */
  readonly isFull: boolean;
  /** One for each request: what was claimed, or whether each record was the member's. */
  readonly results: readonly LedgerResult[];
}

export interface LedgerResult {
  readonly claimed: readonly Receipt[];
  readonly held: readonly boolean[];
}

export interface LedgerStatus {
  readonly next: number;
  readonly pending: number;
  readonly due: number;
  readonly oldest: number | undefined;
  readonly missed: number;
}
