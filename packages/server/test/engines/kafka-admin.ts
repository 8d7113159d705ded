import { Admin, Producer } from '@platformatic/kafka';
import type { KafkaServer } from './kafka-server.ts';

/** What others do to topics. */
export class KafkaAdmin {
  readonly #admin: Admin;
  readonly #producer: Producer;

  constructor({ port }: KafkaServer) {
    const bootstrapBrokers = [{ host: '127.0.0.1', port }];
    this.#admin = new Admin({ clientId: 'operator', bootstrapBrokers });
    this.#producer = new Producer({ clientId: 'stranger', bootstrapBrokers });
  }

  async create(topic: string, settings: Readonly<Record<string, string>>): Promise<void> {
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }));
    await this.#admin.createTopics({ topics: [topic], partitions: 1, replicas: 1, configs });
  }

  async delete(topic: string): Promise<void> {
    await this.#admin.deleteTopics({ topics: [topic] });
  }

  async write(topic: string, value: string): Promise<void> {
    await this.#producer.send({ messages: [{ topic, partition: 0, value: Buffer.from(value) }] });
  }

  async close(): Promise<void> {
    await Promise.all([this.#admin.close(), this.#producer.close()]);
  }
}
