import { checkFilter, durabilities, heartbeatMax, heartbeatMin } from '@tailrace/protocol';
import { z } from 'zod';
import { engineFault } from '../log/engine-url.ts';
import type { Config, KeepRule, LagRule, TopicRule } from './config.ts';
import {
  choice,
  count,
  described,
  duration,
  leaf,
  onOff,
  optionalDuration,
  optionalSize,
  quantity,
  size,
  text,
  texts,
} from './kinds.ts';
import { formatDuration, parseDuration } from './units.ts';

/**
 * The one place where settings are written down: types, defaults, bounds, `--help`, docs/settings.md and the messages
 * of `tailrace check` come from here.
 */

const heartbeatBounds = { min: formatDuration(heartbeatMin), max: formatDuration(heartbeatMax) };

const lagRule: z.ZodType<LagRule> = z.strictObject({
  policy: z.enum(['replay', 'last', 'disconnect']),
  after: quantity(parseDuration, { min: 10, max: 86_400_000 }).default(10_000),
});

/** Most records that a rule can keep of one topic. */
const keepMax = 1_000_000_000;

const keepRule: z.ZodType<KeepRule> = z
  .strictObject({ last: z.int().min(1).max(keepMax).optional(), lastPerKey: z.literal(true).optional() })
  .refine(keep => (keep.last === undefined) !== (keep.lastPerKey === undefined));

const topicRule: z.ZodType<TopicRule> = z.strictObject({
  filter: z.string().refine(isFilter),
  durability: z.enum(durabilities).optional(),
  lag: lagRule.optional(),
  keep: keepRule.optional(),
  spool: z.literal(true).optional(),
});

/** What a rule may be. */
export const ruleAllowed = 'an object with filter and durability, lag, keep or spool';

/** What each part of a rule may be: for messages, since rules are no settings of their own. */
export const ruleParts: Readonly<Record<string, string>> = {
  filter: 'a filter, such as prices/# or iot/+/state',
  durability: `one of ${durabilities.join(', ')}`,
  lag: 'an object with policy and after',
  'lag.policy': 'one of replay, last, disconnect',
  'lag.after': 'a duration from 10ms to 1d, such as 10s, or a number of milliseconds',
  keep: 'an object with either last or lastPerKey',
  'keep.last': `a whole number from 1 to ${keepMax}`,
  'keep.lastPerKey': 'true',
  spool: 'true',
};

const settings = {
  host: text(
    '127.0.0.1',
    /^[A-Za-z0-9.:_-]{1,253}$/,
    'an IP address or host name of this machine',
    'Address to listen on. Anything but a loopback address needs `insecure` as long as no authentication is configured.',
  ),
  port: count(4080, { min: 0, max: 65_535 }, 'TCP port to listen on; 0 takes any free one.'),
  data: text('./data', /^[^\0]+$/, 'a path', 'Directory that holds the log; made when missing. One server at a time.'),
  engine: described(
    'disk',
    engineFault,
    'disk, memory, or a URL such as redis://127.0.0.1:6379, kafka://… or nats://…',
    'Where the log lives. `memory` keeps only `hot.bytes` of records and loses them with the process. `redis://[user:password@]host:port[/database]` (`rediss://` for TLS), `redis+sentinel://[user:password@]host:port,host:port/primary` with Sentinels, `redis+cluster://[user:password@]host:port,host:port` for a Redis Cluster, `kafka://[user:password@]host:port[,host:port]` (`kafkas://` for TLS), or `nats://[user:password@]host:port[,host:port]` (`tls://` for TLS) shares one log between all servers that name it: see clusters.md.',
  ),
  redis: group({
    name: text(
      'tailrace',
      /^[A-Za-z0-9._-]{1,64}$/,
      '1 to 64 letters, digits, dots, hyphens or underscores',
      'What the keys of the log begin with in Redis: servers with the same name share one log.',
    ),
    partitions: count(
      1,
      { min: 1, max: 256 },
      'Streams over which the topics are spread, so that more than one core of Redis, or several servers of a cluster, carry the log. It stays as it is for the life of the log; with several, order is promised for each topic but not between topics.',
    ),
    replicas: count(
      0,
      { min: 0, max: 16 },
      'Replicas that must have a record before its publish is acked. With 0 a failover of Redis may lose acked records that no replica had yet; subscribers are told.',
    ),
  }),
  kafka: group({
    name: text(
      'tailrace',
      /^[A-Za-z0-9._-]{1,249}$/,
      '1 to 249 letters, digits, dots, hyphens or underscores',
      'The Kafka topic that holds the log, made when missing: servers with the same name share one log.',
    ),
    partitions: count(
      1,
      { min: 1, max: 256 },
      'Partitions of the topic, so that several brokers carry the log. It stays as it is for the life of the log; with several, order is promised for each topic but not between topics.',
    ),
    replicas: count(
      0,
      { min: 0, max: 16 },
      'Replicas of the topic when it has to be made; 0: as the brokers say. Give it three, and `min.insync.replicas=2`, where it matters.',
    ),
    compression: choice(
      ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
      'lz4',
      'How batches of records are compressed on their way to Kafka and there.',
    ),
    sasl: choice(
      ['plain', 'scram-sha-256', 'scram-sha-512'],
      'plain',
      'How the user and password of `engine` are shown to Kafka.',
    ),
  }),
  nats: group({
    name: text(
      'tailrace',
      /^[A-Za-z0-9_-]{1,64}$/,
      '1 to 64 letters, digits, hyphens or underscores',
      'What the streams of the log in NATS JetStream begin with, made when missing: servers with the same name share one log.',
    ),
    partitions: count(
      1,
      { min: 1, max: 64 },
      'Streams over which the topics are spread, so that several servers of a cluster carry the log. It stays as it is for the life of the log; with several, order is promised for each topic but not between topics.',
    ),
    replicas: count(
      1,
      { min: 1, max: 5 },
      'Servers of NATS that keep each record, for streams that have to be made. Give it three where it matters.',
    ),
    synced: onOff(
      false,
      'Says that the NATS servers sync each write (`sync_interval: always`), which they tell nobody: then one of them alone can keep `durability: fsync`.',
    ),
  }),
  durability: choice(
    ['fsync', 'written'],
    'fsync',
    'What an ack promises when neither the publish nor a rule says: `fsync` survives power loss, `written` a crash of the server.',
  ),
  insecure: onOff(
    false,
    'Allows a non-loopback `host` without authentication: whoever reaches the port may read and publish everything.',
  ),
  origins: texts(
    /^(https?:\/\/[^/\s]+|\*)$/,
    'a list of origins such as https://app.example.com, or *',
    'Web origins that may talk to this server beside its own; `*` allows every page. Empty: the same origin, and on unauthenticated loopback any loopback origin.',
  ),
  hosts: texts(
    /^[^/\s:@]+$|^\[[0-9a-fA-F:.]+\]$/,
    'a list of host names without port, such as push.example.com',
    'Names beside loopback ones under which an unauthenticated server answers (protection against DNS rebinding); with `insecure` it answers to any.',
  ),
  heartbeat: duration(
    '25s',
    heartbeatBounds,
    'Time between heartbeats of a connection, unless its client asks for another. Must be shorter than `stall.max`.',
  ),
  sse: group({
    heartbeat: optionalDuration(
      heartbeatBounds,
      'The same for event streams: at least so often something is sent. Null: as `heartbeat`. Must be shorter than `stall.max`.',
      '25s',
    ),
  }),
  websocket: group({
    heartbeat: optionalDuration(
      heartbeatBounds,
      'The same for WebSockets: they are pinged so often, more often where the round trip is very long. Null: as `heartbeat`. Must be shorter than `stall.max`.',
      '25s',
    ),
  }),
  log: group({
    level: choice(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'info',
      "Least serious level of the server's own log, which goes to standard error.",
    ),
  }),
  segment: group({
    bytes: size(
      '64MiB',
      { min: '64KiB', max: '1GiB' },
      'Size of one segment file of the log. Retention removes whole segments.',
    ),
  }),
  hot: group({
    bytes: size(
      '64MiB',
      { min: '64KiB', max: '64GiB' },
      'Memory for the newest records, from which live and resuming readers are served without the disk.',
    ),
  }),
  retention: group({
    age: optionalDuration(
      { min: '1s', max: '36500d' },
      'Records older than this are removed, a segment at a time; null keeps them whatever their age.',
    ),
    bytes: optionalSize(
      { min: '64KiB', max: '1024TiB' },
      'The oldest segments are removed while the log is larger than this; null sets no bound. At least `segment.bytes`.',
    ),
    grace: duration(
      '1h',
      { min: '0s', max: '30d' },
      'How long a sweep by age that would remove more than a tenth of the log, at start or after the clock stepped, waits for the clock to be right; 0 does not wait.',
    ),
  }),
  scrub: group({
    interval: duration(
      '1d',
      { min: '0s', max: '365d' },
      'Complete segments are re-read in the background, the whole log once in this time, so that a disk which changes bytes is found out; 0 re-reads nothing.',
    ),
    rate: size(
      '8MiB',
      { min: '64KiB', max: '1GiB' },
      'Most bytes a second that re-reading takes; a log too large for it takes longer than `scrub.interval`.',
    ),
  }),
  tombstone: group({
    age: duration(
      '1d',
      { min: '1d', max: '36500d' },
      'How long a deletion (a record with key and without data) is kept at least in topics with the rule `keep.lastPerKey`. A cursor from before one that is gone is reset.',
    ),
  }),
  dedupe: group({
    ids: count(
      100_000,
      { min: 0, max: 10_000_000 },
      'How many of the newest message ids are remembered to recognise duplicates; 0 remembers by age alone.',
    ),
    age: duration(
      '5m',
      { min: '0s', max: '1d' },
      'How long an id is remembered at least, even when more than `dedupe.ids` came since; 0 remembers by number alone.',
    ),
    limit: count(
      400_000,
      { min: 0, max: 10_000_000 },
      'Most ids remembered at all: beyond it they are forgotten before `dedupe.age` is over. Less than `dedupe.ids` counts as `dedupe.ids`.',
    ),
    producers: count(
      10_000,
      { min: 1, max: 1_000_000 },
      'Producers whose sequences are remembered; beyond it those unused for longest are forgotten.',
    ),
  }),
  ended: group({
    topics: count(
      1_000_000,
      { min: 1, max: 10_000_000 },
      'Topics whose `end` is remembered; beyond it the one ended longest ago is forgotten, and takes publishes again.',
    ),
  }),
  pending: group({
    bytes: size(
      '64MiB',
      { min: '1MiB', max: '4GiB' },
      'Bytes of publishes that may wait for their commit; beyond it publishes are refused with `overloaded`.',
    ),
    records: count(
      500_000,
      { min: 1000, max: 10_000_000 },
      'The same for their number: small ones take more memory than their bytes.',
    ),
  }),
  keys: group({
    bytes: size(
      '64MiB',
      { min: '1MiB', max: '64GiB' },
      'Memory for the keys of topics that were lately asked for what is current, or published to with `expect`. The keys of other topics are read from the log when they are needed; more keys than fit are read each time. A compaction takes as much again for the keys it meets, and keeps the deletions of what has no room.',
    ),
  }),
  lag: group({
    target: duration(
      '100ms',
      { min: '1ms', max: '1m' },
      'When live delivery falls behind by more than this, acks are held back until it has caught up.',
    ),
    limit: duration(
      '200ms',
      { min: '1ms', max: '10m' },
      'When live delivery falls behind by more than this, publishes are refused with `overloaded`. Must be longer than `lag.target`.',
    ),
  }),
  pinned: group({
    max: size(
      '16MiB',
      { min: '1MiB', max: '4GiB' },
      'Bytes of distinct blocks that unfinished writes may hold; over it the connections that hold the oldest are cut and resume by cursor.',
    ),
  }),
  stall: group({
    max: duration(
      '60s',
      { min: '100ms', max: '1h' },
      'A connection whose unfinished write makes no progress for this long is cut with `stalled`.',
    ),
  }),
  connect: group({
    timeout: duration('10s', { min: '50ms', max: '10m' }, 'Time for the first frame of a WebSocket client.'),
  }),
  idle: group({
    timeout: duration(
      '30s',
      { min: '50ms', max: '1h' },
      'A WebSocket session that subscribes to nothing and sends no frame for this long is closed with `idle`.',
    ),
  }),
  header: group({
    timeout: duration('10s', { min: '50ms', max: '10m' }, 'Time for the head of a request, from the first byte on.'),
  }),
  body: group({
    timeout: duration(
      '30s',
      { min: '50ms', max: '1h' },
      'Longest pause in a request body; a body that keeps coming may take any time.',
    ),
  }),
  poll: group({
    wait: duration(
      '25s',
      { min: '0s', max: '10m' },
      'How long a long-poll waits for a message when the request does not say; 0 answers at once.',
    ),
    max: duration('60s', { min: '0s', max: '10m' }, 'Longest wait that a long-poll may ask for.'),
  }),
  publish: group({
    deadline: duration(
      '3s',
      { min: '10ms', max: '10m' },
      'Time for a publish to be answered. When it is over, one that is committed is acknowledged although the brake holds it; one that is not is `deadline_exceeded`, with unknown outcome. A publish may name a shorter one.',
    ),
  }),
  reconnect: group({
    rate: count(
      1000,
      { min: 1, max: 1_000_000 },
      'Connects per second that this server is to be met with after a drain or restart: reconnect hints are spread over connections ÷ rate.',
    ),
  }),
  drain: group({
    window: duration(
      '30s',
      { min: '0s', max: '1h' },
      'Widest window over which clients are asked to spread their reconnects; 0 lets them come at once.',
    ),
    timeout: duration(
      '10s',
      { min: '0s', max: '1h' },
      'How long a stopping server waits for requests in flight and last writes; 0 waits for none.',
    ),
  }),
  limits: group({
    connections: count(
      19_000,
      { min: 1, max: 1_000_000 },
      'Connections at a time; lowered at start to what the limit on open files allows.',
    ),
    header: size('16KiB', { min: '1KiB', max: '1MiB' }, 'Request line and headers of one request.'),
    filters: count(128, { min: 1, max: 10_000 }, 'Filters of one subscription.'),
    subscriptions: count(256, { min: 1, max: 100_000 }, 'Subscriptions of one session.'),
    frame: size('1MiB', { min: '1KiB', max: '64MiB' }, 'One WebSocket message from a client.'),
    items: count(1000, { min: 1, max: 100_000 }, 'Messages or subscriptions in one frame, messages in one array body.'),
    message: size(
      '1MiB',
      { min: '1B', max: '32MiB' },
      'Data of one message. At most `limits.body`, `pending.bytes` and `hot.bytes`.',
    ),
    body: size(
      '16MiB',
      { min: '1KiB', max: '1GiB' },
      'A request body that is read whole, such as an array of messages; NDJSON has no total limit.',
    ),
    topic: size('512B', { min: '1B', max: '8KiB' }, 'Bytes of one topic or filter.'),
    levels: count(32, { min: 1, max: 256 }, 'Levels of one topic or filter.'),
    messageHeaders: size('4KiB', { min: '0B', max: '64KiB' }, 'Names and values of the headers of one message.'),
  }),
  spool: group({
    bytes: size(
      '1GiB',
      { min: '1MiB', max: '1TiB' },
      'What may wait on this node for a shared engine that is away, of topics whose rule says `spool: true`. Beyond it such publishes are refused with `log_full`.',
    ),
  }),
  rules: leaf<readonly TopicRule[]>(z.array(topicRule), [], {
    kind: 'rules',
    help: 'Topic rules: settings for the topics a filter matches. For each setting the first rule that matches and has it decides.',
    allowed: `a list of rules, each ${ruleAllowed}`,
    shown: '[]',
    nullable: false,
  }),
};

const schema = z.strictObject(settings);

export const configSchema: z.ZodType<Config> = schema;

/** The tree of settings by name: groups are objects, the rest are schemas that `settingFacts` knows. */
export const settingTree: Readonly<Record<string, z.ZodType>> = settings;

function group<Shape extends z.core.$ZodLooseShape>(shape: Shape): z.ZodPrefault<z.ZodObject<Shape, z.core.$strict>> {
  return z.strictObject(shape).prefault({} as never);
}

function isFilter(filter: string): boolean {
  try {
    checkFilter(filter);
    return true;
  } catch {
    return false;
  }
}

// a setting that is in the schema and not in Config, or the other way round, fails here
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Keys<T> = T extends readonly unknown[]
  ? never
  : T extends object
    ? { -readonly [K in keyof T]-?: Keys<T[K]> }
    : never;
const sameNames: Same<Keys<z.output<typeof schema>>, Keys<Config>> = true;
void sameNames;
