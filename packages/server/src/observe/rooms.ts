import type { Read } from './reading.ts';

/** What metrics read of the rooms above, structurally: observe knows none of them. */
export interface WatchedRooms {
  readonly clock: { readonly timers: number };
  readonly engine: {
    readonly state: string;
    readonly refused: number;
    times(): readonly (readonly [name: string, ms: number])[];
  };
  readonly log: {
    readonly head: { readonly offset: number; readonly epoch: number };
    readonly floor: number;
    readonly rewinds: number;
    readonly live: { readonly lost: number } | undefined;
    readonly shared?:
      | {
          readonly nodes: { readonly all: readonly unknown[] } | undefined;
          readonly groups: { readonly opened: readonly WatchedGroup[] } | undefined;
          readonly tails: readonly WatchedTail[];
        }
      | undefined;
    readonly bridge?: { readonly tails: readonly WatchedTail[] } | undefined;
    readonly hot: { readonly bytes: number; readonly topicCount: number; readonly batchCount: number };
    readonly status: {
      readonly state: string;
      readonly segments: number;
      readonly bytes: number;
      readonly pendingRecords: number;
      readonly pendingBytes: number;
      readonly commits: number;
      readonly retentionWaitingBytes: number;
      readonly deletionsPending: number;
      readonly damagedReads: number;
      readonly scrub: { readonly bytes: number; readonly damages: number; readonly progress: number };
    };
    readonly memory: Readonly<Record<Remembered, number>>;
  };
  readonly hub: {
    readonly clock: { monotonic(): number };
    readonly sessions: { readonly size: number };
    readonly cohorts: { readonly size: number };
    readonly index: { readonly filterCount: number };
    readonly brake: { readonly lag: number; readonly heldCount: number; readonly refused: number };
    readonly blocks: { readonly hits: number; readonly misses: number };
    readonly slices: { readonly waiting: number };
    readonly publisher: { readonly inFlight: number; readonly deadlineCount: number };
    readonly catchUp: {
      readonly pinnedBytes: number;
      readonly lagging: { readonly size: number; keys(): Iterable<{ readonly noProgressSince: number }> };
    };
    readonly deliveries: {
      readonly records: number;
      readonly writes: number;
      readonly bytes: number;
      readonly dropped: number;
    };
  };
  readonly spool?: WatchedSpool | undefined;
  readonly gateway: {
    countByTransport(): Iterable<readonly [string, number]>;
    readonly wheel: { readonly size: number };
    readonly refused: Iterable<readonly [string, number]>;
    readonly cut: Iterable<readonly [string, number]>;
    grades(): { readonly roundTrip: Grades; readonly jitter: Grades };
  };
}

interface WatchedTail {
  readonly partition: string;
  readonly records: number;
  readonly ms: number;
}

interface WatchedSpool {
  readonly waiting: number;
  readonly bytes: number;
  readonly shipped: number;
  readonly refused: number;
}

interface WatchedGroup {
  readonly name: string;
  readonly lastStatus:
    | {
        readonly lag: number;
        readonly lagMs: number;
        readonly pending: number;
        readonly due: number;
        readonly missed: number;
      }
    | undefined;
}

type Remembered =
  | 'ids'
  | 'producers'
  | 'idsCutShort'
  | 'producersCutShort'
  | 'endedTopics'
  | 'endedCutShort'
  | 'tables'
  | 'tableBytes'
  | 'tableLoads';
type Grades = Iterable<readonly [windowAndGrade: readonly string[], count: number]>;
const gradeLabels: readonly string[] = ['window', 'grade'];

export function roomReadings({ clock, log, hub, gateway, engine, spool }: WatchedRooms): Read[] {
  const gauge = (name: string, help: string, read: Read['read'], label?: Read['label']): Read => ({
    name: `tailrace_${name}`,
    help,
    type: 'gauge',
    read,
    ...(label === undefined ? {} : { label }),
  });
  const counter = (...of: Parameters<typeof gauge>): Read => ({ ...gauge(...of), type: 'counter' });
  return [
    gauge('connections', 'Streaming connections.', () => gateway.countByTransport(), 'transport'),
    counter('connections_refused_total', 'Streams refused, by error code.', () => gateway.refused, 'code'),
    counter('connections_cut_total', 'Connections cut by the server, by reason.', () => gateway.cut, 'reason'),
    gauge(
      'round_trip_connections',
      'WebSocket connections by how long their answers to pings take.',
      () => gateway.grades().roundTrip,
      gradeLabels,
    ),
    gauge(
      'round_trip_jitter_connections',
      'WebSocket connections by how much that time varies.',
      () => gateway.grades().jitter,
      gradeLabels,
    ),
    gauge(
      'timers',
      'What waits for its time: timers of the runtime, connections for their heartbeat, publishes for their deadline.',
      () => [
        ['runtime', clock.timers],
        ['heartbeat', gateway.wheel.size],
        ['deadline', hub.publisher.deadlineCount],
      ],
      'kind',
    ),
    gauge('cohorts', 'Groups of subscriptions that share one cursor.', () => hub.cohorts.size),
    gauge('index_filters', 'Filters in the topic index.', () => hub.index.filterCount),
    counter('deliveries_total', 'Records handed to connections.', () => hub.deliveries.records),
    counter('delivery_writes_total', 'Writes that carried them.', () => hub.deliveries.writes),
    counter('delivery_bytes_total', 'Bytes of these writes.', () => hub.deliveries.bytes),
    counter(
      'deliveries_dropped_total',
      'Records of durability none that a lagging connection missed.',
      () => hub.deliveries.dropped,
    ),
    gauge('lagging_sessions', 'Sessions whose last write is unfinished.', () => hub.catchUp.lagging.size),
    gauge('lagging_seconds_max', 'Longest time that an unfinished write has made no progress.', () => longestLag(hub)),
    gauge('pinned_bytes', 'Bytes of distinct blocks that unfinished writes hold.', () => hub.catchUp.pinnedBytes),
    counter(
      'blocks_total',
      'Shared blocks asked for, by whether one was there.',
      () => [
        ['hit', hub.blocks.hits],
        ['miss', hub.blocks.misses],
      ],
      'cache',
    ),
    gauge(
      'delivery_jobs_waiting',
      'Cohorts and sessions that wait for their turn to be written to.',
      () => hub.slices.waiting,
    ),
    gauge(
      'delivery_lag_seconds',
      'Age of the oldest commit that live subscribers have not been sent.',
      () => hub.brake.lag / 1000,
    ),
    gauge('publishes_held', 'Acks and streams that the brake holds back.', () => hub.brake.heldCount),
    counter(
      'publishes_refused_total',
      'Publishes refused because delivery was beyond lag.limit.',
      () => hub.brake.refused,
    ),
    gauge('publishes_in_flight', 'Messages handed to the log and not answered yet.', () => hub.publisher.inFlight),
    gauge(
      'log_state',
      '1 for the state the log is in.',
      () => ['open', 'full', 'fenced', 'closed'].map(state => [state, state === log.status.state ? 1 : 0] as const),
      'state',
    ),
    gauge(
      'engine_state',
      '1 for the state the server behind a shared log is in.',
      () => ['healthy', 'degraded', 'isolated'].map(state => [state, state === engine.state ? 1 : 0] as const),
      'state',
    ),
    gauge(
      'engine_probe_seconds',
      'Time that the newest run of each probe of the engine took.',
      () => engine.times().map(([name, ms]) => [name, ms / 1000] as const),
      'probe',
    ),
    counter(
      'publishes_refused_by_engine_total',
      'Publishes refused because the engine does not answer.',
      () => engine.refused,
    ),
    counter(
      'live_messages_lost_total',
      'Messages of durability none from other nodes that did not reach this one.',
      () => log.live?.lost ?? 0,
    ),
    gauge('spool_messages', 'Messages on this node that wait for the engine to take them.', () => spool?.waiting ?? 0),
    gauge('spool_bytes', 'What these take on disk, with what is not cleared away yet.', () => spool?.bytes ?? 0),
    counter(
      'spool_shipped_total',
      'Messages that had waited and that the engine has taken.',
      () => spool?.shipped ?? 0,
    ),
    counter(
      'spool_refused_total',
      'Messages that had waited and that the engine will not take, such as those of a topic that ended meanwhile.',
      () => spool?.refused ?? 0,
    ),
    counter('log_rewinds_total', 'Times that the engine lost its newest records while it ran.', () => log.rewinds),
    gauge('cluster_nodes', 'Servers that share the log and were heard of within 90 s, this one included.', () =>
      log.shared === undefined ? 1 : log.shared.nodes?.all.length,
    ),
    gauge(
      'tail_lag_records',
      'Records that the server behind a shared log has and that have not come to this node.',
      () => log.shared?.tails.map(({ partition, records }) => [partition, records] as const) ?? [],
      'partition',
    ),
    gauge(
      'tail_lag_seconds',
      'How long the first of them has been known of and has not come.',
      () => log.shared?.tails.map(({ partition, ms }) => [partition, ms / 1000] as const) ?? [],
      'partition',
    ),
    gauge(
      'bridge_lag_records',
      'Records that a bridged partition of another system has and that have not come to this node.',
      () => log.bridge?.tails.map(({ partition, records }) => [partition, records] as const) ?? [],
      'partition',
    ),
    gauge(
      'bridge_lag_seconds',
      'How long the first of them has been known of and has not come.',
      () => log.bridge?.tails.map(({ partition, ms }) => [partition, ms / 1000] as const) ?? [],
      'partition',
    ),
    gauge('group_lag_records', 'Records that a group has not looked at.', () => ofGroups(log, 'lag'), 'group'),
    gauge(
      'group_lag_seconds',
      'How much older than the newest record the last one is that a group has looked at.',
      () => ofGroups(log, 'lagMs', 1000),
      'group',
    ),
    gauge('group_pending', 'Records that were claimed and are not acked.', () => ofGroups(log, 'pending'), 'group'),
    gauge(
      'group_due',
      'Records that wait for a member again, since their deadline is over or one let go of them.',
      () => ofGroups(log, 'due'),
      'group',
    ),
    counter(
      'group_missed_total',
      'Records that were removed from the log before a group had done them.',
      () => ofGroups(log, 'missed'),
      'group',
    ),
    gauge('log_head_offset', 'Offset of the newest record.', () => log.head.offset),
    gauge('log_floor_offset', 'Records with a greater offset are all there.', () => log.floor),
    gauge('log_epoch', 'Epoch of the running log.', () => log.head.epoch),
    gauge('log_segments', 'Segments of the log.', () => log.status.segments),
    gauge('log_bytes', 'Bytes of the log.', () => log.status.bytes),
    gauge('log_pending_records', 'Records that wait for their commit.', () => log.status.pendingRecords),
    gauge('log_pending_bytes', 'Bytes that wait for their commit.', () => log.status.pendingBytes),
    counter('log_commits_total', 'Commits.', () => log.status.commits),
    gauge(
      'retention_waiting_bytes',
      'Bytes older than the retention age that stay for retention.grace, since the clock may be wrong.',
      () => log.status.retentionWaitingBytes,
    ),
    gauge(
      'log_deletions_pending',
      'Topics deleted for good of which files still hold records.',
      () => log.status.deletionsPending,
    ),
    counter(
      'log_damage_total',
      'Reads refused because they met damaged data; any is a reason to look.',
      () => log.status.damagedReads,
    ),
    counter('scrub_bytes_total', 'Bytes of complete segments re-read in the background.', () => log.status.scrub.bytes),
    gauge(
      'scrub_progress',
      'Part of the log behind the place where it re-reads, 0 to 1.',
      () => log.status.scrub.progress,
    ),
    counter(
      'scrub_damage_total',
      'Damaged places met while re-reading; any is a reason to look.',
      () => log.status.scrub.damages,
    ),
    gauge(
      'dedupe_remembered',
      'Message ids and producers by which repeated publishes are recognised.',
      () => [
        ['ids', log.memory.ids],
        ['producers', log.memory.producers],
      ],
      'kind',
    ),
    counter(
      'dedupe_cut_short_total',
      'Ids younger than dedupe.age, and producers, forgotten for want of room: a repeat of one is a new record.',
      () => [
        ['ids', log.memory.idsCutShort],
        ['producers', log.memory.producersCutShort],
      ],
      'kind',
    ),
    gauge('ended_topics', 'Topics that are known to have ended.', () => log.memory.endedTopics),
    counter(
      'ended_topics_cut_short_total',
      'Ended topics forgotten for want of room: they take publishes again.',
      () => log.memory.endedCutShort,
    ),
    gauge('key_topics', 'Topics whose keys are in memory.', () => log.memory.tables),
    gauge('key_bytes', 'Bytes that these keys take, about.', () => log.memory.tableBytes),
    counter('key_loads_total', 'Times that the keys of a topic were read from the log.', () => log.memory.tableLoads),
    gauge('hot_bytes', 'Weight of the newest records kept in memory.', () => log.hot.bytes),
    gauge('hot_batches', 'Committed batches kept in memory.', () => log.hot.batchCount),
    gauge('hot_topics', 'Topics with records in memory.', () => log.hot.topicCount),
  ];
}

function* ofGroups(
  log: WatchedRooms['log'],
  number: keyof NonNullable<WatchedGroup['lastStatus']>,
  scale = 1,
): Generator<readonly [string, number]> {
  for (const { name, lastStatus } of log.shared?.groups?.opened ?? [])
    if (lastStatus !== undefined) yield [name, lastStatus[number] / scale];
}

function longestLag(hub: WatchedRooms['hub']): number {
  let since = hub.clock.monotonic();
  const now = since;
  for (const session of hub.catchUp.lagging.keys()) since = Math.min(since, session.noProgressSince);
  return (now - since) / 1000;
}
