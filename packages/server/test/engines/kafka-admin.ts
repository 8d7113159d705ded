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

  /** Offsets of its only partition, as Kafka counts them: of the first record that is left, and of the next that comes. */
  async bounds(topic: string): Promise<{ readonly floor: number; readonly head: number }> {
    const at = async (timestamp: bigint): Promise<number> => {
      const partitions = [{ partitionIndex: 0, timestamp }];
      const [listed] = await this.#admin.listOffsets({ topics: [{ name: topic, partitions }] });
      return Number(listed!.partitions[0]!.offset);
    };
    return { floor: await at(-2n), head: await at(-1n) };
  }

  async write(topic: string, value: string): Promise<void> {
    await this.#producer.send({ messages: [{ topic, partition: 0, value: Buffer.from(value) }] });
  }

  async close(): Promise<void> {
    await Promise.all([this.#admin.close(), this.#producer.close()]);
  }
}
