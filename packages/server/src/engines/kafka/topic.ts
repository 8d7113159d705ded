import { systemClock } from '../../log/clock.ts';
import type { StoredDurability } from '../../log/record.ts';
import type { EntryTimes } from '../broker-partition.ts';
import type { KafkaCluster, Place } from './cluster.ts';
import { brokerError, isError, reasonOf, refusalOf } from './errors.ts';

/** What is asked of a topic. */
export interface TopicDemands {
  readonly topic: string;
  /** What it has, or has to be made with. */
  readonly partitions: number;
  /** Replicas of each partition when it has to be made; 0: as the brokers say. */
  readonly replicas: number;
  readonly recordBytes: number;
  /** ms; undefined: for ever. */
  readonly age: number | undefined;
  readonly bytes: number | undefined;
  /** Class of durability that it must keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  readonly times: EntryTimes;
  /** Other settings of one that is made. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What a topic is like. */
export interface JudgedTopic {
  readonly replicas: number;
  readonly durabilities: readonly StoredDurability[];
  readonly minInSync: number;
  /** Bytes of one request, at most. */
  readonly bytesMost: number;
}

/** What Kafka calls them. */
const timestampTypes: Readonly<Record<EntryTimes, string>> = { writer: 'CreateTime', broker: 'LogAppendTime' };
const topicResource = 2;
const createTimeout = 8000;
/** Beside the records themselves. */
const requestOverhead = 16 * 1024;
const settle = 20;

/** Makes the topic if it is missing; rejects when the log must not live in it. */
export async function prepareTopic(cluster: KafkaCluster, demands: TopicDemands): Promise<JudgedTopic> {
  const { topic } = demands;
  let place: Place | undefined;
  for (let why: unknown; place === undefined; ) {
    if (cluster.reader.isClosed) throw why;
    try {
      place = await cluster.locate(topic, 0);
    } catch (error) {
      if (!cluster.reader.isClosed) why = error;
      if (refusalOf(error) !== undefined) throw error;
      if (isError(error, 'TOPIC_AUTHORIZATION_FAILED')) throw new Error(lacking(topic, ['Describe']));
      if ((error as { code?: unknown }).code === 'not_found') await create(cluster, demands);
      // a topic that was just made has no leader for a moment, and brokers may be starting
      await new Promise<void>(resolve => systemClock.after(settle, resolve));
    }
  }
  await demandRights(cluster, topic);
  return judge(await configOf(cluster, topic), place.partitions, place.replicas, demands);
}

async function create(cluster: KafkaCluster, demands: TopicDemands): Promise<void> {
  const { topic, partitions, replicas, recordBytes, age, bytes, times, settings = {} } = demands;
  const configs = [
    { name: 'cleanup.policy', value: 'delete' },
    { name: 'message.timestamp.type', value: timestampTypes[times] },
    { name: 'retention.ms', value: String(age ?? -1) },
    { name: 'retention.bytes', value: String(bytes ?? -1) },
    {
      name: 'max.message.bytes',
      value: String(Math.max(recordBytes + requestOverhead, 1024 * 1024 + requestOverhead)),
    },
    { name: 'unclean.leader.election.enable', value: 'false' },
    ...Object.entries(settings).map(([name, value]) => ({ name, value })),
    // records are as old as their publishers say
    { name: 'message.timestamp.after.max.ms', value: '9223372036854775807' },
  ];
  const wanted = {
    name: topic,
    numPartitions: partitions,
    replicationFactor: replicas === 0 ? -1 : replicas,
    assignments: [],
  };
  const { reader } = cluster;
  for (const some of [configs, configs.slice(0, -1)]) {
    try {
      const controller = await reader.connect();
      const make = (onlyAsked: boolean): Promise<Made> =>
        reader.ask<Made>(controller, 'CreateTopics', () => [[{ ...wanted, configs: some }], createTimeout, onlyAsked]);
      // a start that is refused leaves nothing behind
      judgeMade(await make(true), demands);
      await make(false);
      return;
    } catch (error) {
      if (error instanceof TopicRefused) throw error;
      if (isError(error, 'TOPIC_ALREADY_EXISTS')) return;
      if (isError(error, 'TOPIC_AUTHORIZATION_FAILED') || isError(error, 'CLUSTER_AUTHORIZATION_FAILED'))
        throw new Error(`topic ${topic} is missing, and this user may not make it: grant Create on it, or make it`);
      // brokers before 3.6 do not know the last of them, and have no such limit
      if (!isError(error, 'INVALID_CONFIG') || some !== configs)
        throw new Error(`topic ${topic} is missing and cannot be made: ${reasonOf(error)}`);
    }
  }
}

/** Of a topic as it would be made, as far as the brokers tell. */
function judgeMade({ topics: [made] }: Made, demands: TopicDemands): void {
  if (made?.configs == null) return;
  judge(
    new Map(made.configs.map(({ name, value }) => [name, value ?? ''])),
    made.numPartitions,
    made.replicationFactor,
    demands,
  );
}

/** What this user has to be allowed on the topic, and the numbers by which Kafka counts it. */
const rights: Readonly<Record<string, number>> = { Describe: 8, Read: 3, Write: 4, DescribeConfigs: 10 };

/** A right that is missing is told at the start, and not by the first publish. */
async function demandRights({ reader }: KafkaCluster, topic: string): Promise<void> {
  const answer = await reader.ask<Allowed>(await reader.connect(), 'Metadata', () => [[topic], false, true]);
  const { topicAuthorizedOperations: allowed } = answer.topics[0]!;
  // brokers may say nothing of it
  if (allowed === undefined || allowed === -(2 ** 31)) return;
  const missing = Object.keys(rights).filter(right => (allowed & (1 << rights[right]!)) === 0);
  if (missing.length > 0) throw new Error(lacking(topic, missing));
}

function lacking(topic: string, missing: readonly string[]): string {
  return `this user lacks ${missing.join(' and ')} on topic ${topic}: grant ${Object.keys(rights).join(', ')} on it`;
}

/** Empty where this user may not ask. */
async function configOf(cluster: KafkaCluster, topic: string): Promise<ReadonlyMap<string, string>> {
  const { reader } = cluster;
  try {
    const asked = [{ resourceType: topicResource, resourceName: topic, configurationKeys: null }];
    const answer = await reader.ask<Described>(await reader.connect(), 'DescribeConfigs', () => [asked, false, false]);
    return new Map(answer.results[0]!.configs.map(({ name, value }) => [name, value ?? '']));
  } catch (error) {
    if (brokerError(error) === undefined) throw error;
    return new Map();
  }
}

function judge(
  config: ReadonlyMap<string, string>,
  held: number,
  replicas: number,
  demands: TopicDemands,
): JudgedTopic {
  const { topic, partitions, durability, times } = demands;
  if (held !== partitions)
    throw new TopicRefused(
      `topic ${topic} has ${held} partition${held === 1 ? '' : 's'} and not ${partitions}: ` +
        `set kafka.partitions to ${held}, or begin another log with kafka.name`,
    );
  const policy = config.get('cleanup.policy') ?? 'delete';
  if (policy !== 'delete')
    throw new TopicRefused(
      `topic ${topic} has cleanup.policy=${policy}, which drops records silently: set it to delete`,
    );
  const type = config.get('message.timestamp.type') ?? timestampTypes[times];
  if (type !== timestampTypes[times])
    throw new TopicRefused(
      `topic ${topic} has message.timestamp.type=${type}; ${times === 'writer' ? 'the log needs the times of its records' : 'deadlines run by the time of the brokers'}: set it to ${timestampTypes[times]}`,
    );
  const minInSync = Number(config.get('min.insync.replicas') ?? 1);
  if (minInSync > replicas)
    throw new TopicRefused(
      `topic ${topic} has min.insync.replicas=${minInSync} and ${replicas} replicas: no publish could be acked`,
    );
  const syncs = config.get('flush.messages') === '1';
  // what a second machine has survives the power loss of one
  const durabilities: readonly StoredDurability[] = syncs || minInSync > 1 ? ['fsync', 'written'] : ['written'];
  if (durability !== undefined && !durabilities.includes(durability))
    throw new TopicRefused(
      `durability is ${durability}, and topic ${topic} keeps no more than written: set min.insync.replicas=2 (with 3 replicas) ` +
        'or flush.messages=1 on the topic, or durability written here',
    );
  return {
    durabilities,
    replicas,
    minInSync,
    bytesMost: Number(config.get('max.message.bytes') ?? 1024 * 1024) - requestOverhead,
  };
}

/** What it says is for people. */
class TopicRefused extends Error {}

interface Made {
  readonly topics: readonly {
    readonly numPartitions: number;
    readonly replicationFactor: number;
    /** Missing where this user may not read them. */
    readonly configs: readonly { readonly name: string; readonly value: string | null }[] | null;
  }[];
}

interface Allowed {
  readonly topics: readonly { readonly topicAuthorizedOperations?: number }[];
}

interface Described {
  readonly results: readonly {
    readonly configs: readonly { readonly name: string; readonly value: string | null }[];
  }[];
}
