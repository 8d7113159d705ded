/** Where in the files something is: all that is known of it. */
export interface FilePlace {
  /** File name of the segment. */
  readonly segment: string;
  /** Frame number inside the segment, from 0. */
  readonly frame?: number;
  /** Byte position inside the file. */
  readonly position?: number;
  /** Offset of the record, or of the first that is affected. */
  readonly offset?: number;
}

/** Something the operator should know. `message` says it in full; the rest is for programs. */
export interface LogReport {
  readonly level: 'info' | 'warn' | 'error';
  readonly kind:
    | 'recovered'
    | 'spool_empty'
    | 'spool_refused'
    | 'spool_waits'
    | 'tail_cut'
    | 'tail_copied'
    | 'tail_rewritten'
    | 'tail_left'
    | 'generation_restored'
    | 'loss_accepted'
    | 'owner_replaced'
    | 'owner_lost'
    | 'full'
    | 'space_back'
    | 'fenced'
    | 'damaged'
    | 'scrub'
    | 'retention'
    | 'retention_waits'
    | 'compaction'
    | 'compaction_failed'
    | 'deletion'
    | 'deletion_waits'
    | 'deletion_torn'
    | 'dedupe_cut_short'
    | 'dedupe_checkpoint'
    | 'ended_topics_cut_short'
    | 'index_rebuilt'
    | 'seal_failed'
    | 'engine_degraded'
    | 'engine_isolated'
    | 'engine_healthy'
    | 'engine_lost'
    | 'engine_back'
    | 'engine_rewound'
    | 'engine_error'
    | 'bridge_lost'
    | 'bridge_back'
    | 'bridge_overtaken'
    | 'bridge_grown';
  readonly message: string;
  readonly at?: FilePlace;
  /** Bytes concerned. */
  readonly bytes?: number;
  /** Offsets lost, inclusive. */
  readonly lost?: readonly OffsetRange[];
}

export interface OffsetRange {
  readonly from: number;
  readonly to: number;
}
