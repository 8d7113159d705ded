import { Admin, Producer } from '@platformatic/kafka';
import type { KafkaServer } from './kafka-server.ts';

/** A record as other systems produce it. */
export interface Produced {
  readonly key?: string | Buffer | undefined;
  /** Null: a tombstone. */
  readonly value: string | Buffer | null;
  readonly partition?: number;
  readonly time?: number;
  readonly headers?: Readonly<Record<string, string | Buffer>>;
}

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

const bytesOf = (text: string | Buffer): Buffer => (typeof text === 'string' ? Buffer.from(text) : text);

/** Other systems at a Kafka: they make topics, and write to them with a plain producer. */
export class KafkaProducers implements AsyncDisposable {
  readonly admin: Admin;
  readonly #brokers: { host: string; port: number }[];
  readonly #opened: Producer[] = [];
  readonly #plain: Producer;

  constructor({ port }: Pick<KafkaServer, 'port'>) {
    this.#brokers = [{ host: '127.0.0.1', port }];
    this.admin = new Admin({ clientId: 'operator', bootstrapBrokers: this.#brokers });
    this.#plain = this.open();
  }

  open(transactionalId?: string): Producer {
    const producer = new Producer({
      clientId: 'shop',
      bootstrapBrokers: this.#brokers,
      ...(transactionalId === undefined ? {} : { transactionalId, idempotent: true }),
    });
    this.#opened.push(producer);
    return producer;
  }

  async create(topic: string, partitions = 1, settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await this.admin.createTopics({ topics: [topic], partitions, replicas: 1, configs });
  }

  async produce(topic: string, records: readonly Produced[], compression: Compression = 'none'): Promise<void> {
    await this.#plain.send({ messages: messagesOf(topic, records), acks: -1, compression });
  }

  async transaction(topic: string, records: readonly Produced[], commits: boolean): Promise<void> {
    const producer = this.open(`shop-${this.#opened.length}`);
    const transaction = await producer.beginTransaction();
    await transaction.send({ messages: messagesOf(topic, records), acks: -1 });
    await (commits ? transaction.commit() : transaction.abort());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.admin.close(), ...this.#opened.map(producer => producer.close(true))]);
  }
}

export function messagesOf(topic: string, records: readonly Produced[]): never[] {
  return records.map(({ key, value, partition = 0, time, headers = {} }) => ({
    topic,
    partition,
    ...(key === undefined ? {} : { key: bytesOf(key) }),
    ...(value === null ? {} : { value: bytesOf(value) }),
    ...(time === undefined ? {} : { timestamp: BigInt(time) }),
    headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), bytesOf(text)])),
  })) as never[];
}
