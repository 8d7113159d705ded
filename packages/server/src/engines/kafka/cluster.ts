import type { Broker, Connection } from '@platformatic/kafka';
import { TailraceError } from '@tailrace/protocol';
import { type KafkaAccess, KafkaClient } from './client.ts';
import { isError } from './errors.ts';

/** Where a partition is. */
export interface Place {
  readonly topicId: string;
  readonly partitions: number;
  readonly leader: Broker;
  readonly leaderEpoch: number;
  /** Replicas that have all of it. */
  readonly inSync: number;
  readonly replicas: number;
}

/** How long a broker may take to answer, ms. */
const answerTimeout = 5000;
/** How long a broker holds a read at the tail of which there is nothing yet, ms. */
export const waitMost = 500;

/** Connections to a Kafka cluster, shared by all partitions of a node: a read that waits holds up nothing else. */
export class KafkaCluster {
  readonly writer: KafkaClient;
  readonly follower: KafkaClient;
  readonly reader: KafkaClient;
  /** Follows what stands beside the log, whose tail waits for nothing else. */
  readonly sideFollower: KafkaClient;
  readonly #places = new Map<string, Promise<Place>>();

  constructor(access: KafkaAccess) {
    this.writer = new KafkaClient(access, 'writer', answerTimeout);
    this.follower = new KafkaClient(access, 'tail', waitMost + answerTimeout);
    this.reader = new KafkaClient(access, 'reader', answerTimeout);
    this.sideFollower = new KafkaClient(access, 'side tail', waitMost + answerTimeout);
  }

  /** Where a partition is, as told lately. */
  place(topic: string, partition: number): Promise<Place> {
    const key = `${topic} ${partition}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.locate(topic, partition);
      this.#places.set(key, place);
      const asked = place;
      place.catch(() => {
        if (this.#places.get(key) === asked) this.#places.delete(key);
      });
    }
    return place;
  }

  /** It may have moved. */
  forgetPlace(topic: string, partition: number): void {
    this.#places.delete(`${topic} ${partition}`);
  }

  /** Asks where a partition is. Rejects with `not_found` when there is no such topic. */
  async locate(topic: string, partition: number): Promise<Place> {
    const { reader } = this;
    let answer: Metadata;
    try {
      answer = await reader.ask<Metadata>(await reader.connect(), 'Metadata', () => [[topic], false, false]);
    } catch (error) {
      if (isError(error, 'UNKNOWN_TOPIC_OR_PARTITION'))
        throw new TailraceError('not_found', `Kafka has no topic ${topic}`);
      const partial = (error as { response?: Metadata }).response;
      // a partition without a leader does not take the others with it
      if (!partial?.topics?.some(({ errorCode }) => errorCode === 0)) throw error;
      answer = partial;
    }
    for (const client of [this.writer, this.follower, this.reader]) client.learn(answer.brokers);
    const [found] = answer.topics;
    const part = found?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    const leader = answer.brokers.find(({ nodeId }) => nodeId === part?.leaderId);
    if (found === undefined || part === undefined || leader === undefined)
      throw new Error(`partition ${partition} of topic ${topic} has no leader just now`);
    const place = {
      topicId: found.topicId,
      partitions: found.partitions.length,
      leader: { host: leader.host, port: leader.port },
      leaderEpoch: part.leaderEpoch,
      inSync: part.isrNodes.length,
      replicas: part.replicaNodes.length,
    };
    this.#places.set(`${topic} ${partition}`, Promise.resolve(place));
    return place;
  }

  /** A request to the broker that leads the partition, over the connection for reads. */
  async askLeader<T>(place: Place, name: string, args: (version: number) => readonly unknown[]): Promise<T> {
    const connection: Connection = await this.reader.connect(place.leader);
    return this.reader.ask<T>(connection, name, args);
  }

  async close(): Promise<void> {
    const { writer, follower, reader, sideFollower } = this;
    await Promise.all([writer, follower, reader, sideFollower].map(client => client.close()));
  }
}

interface Metadata {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topics: readonly {
    readonly errorCode: number;
    readonly topicId: string;
    readonly partitions: readonly {
      readonly partitionIndex: number;
      readonly leaderId: number;
      readonly leaderEpoch: number;
      readonly replicaNodes: readonly number[];
      readonly isrNodes: readonly number[];
    }[];
  }[];
}
