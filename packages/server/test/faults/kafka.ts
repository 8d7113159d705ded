import { FaultyProxy } from '../engines/faulty-proxy.ts';
import { KafkaServer } from '../engines/kafka-server.ts';
import { type CommonStage, commonFaults } from './common.ts';
import type { Fault } from './run.ts';

/** One broker; the first server reaches it through a proxy. */
class KafkaStage implements CommonStage {
  readonly server: KafkaServer;
  readonly proxies: readonly [FaultyProxy];
  readonly flags: readonly string[] = [];

  private constructor(broker: KafkaServer, proxy: FaultyProxy) {
    this.server = broker;
    this.proxies = [proxy];
  }

  static async open(): Promise<KafkaStage> {
    const proxy = await FaultyProxy.start(0);
    const broker = await KafkaServer.start({ proxyPort: proxy.port });
    proxy.target = broker.proxiedPort;
    return new KafkaStage(broker, proxy);
  }

  get engines(): [string, string] {
    return [`kafka://127.0.0.1:${this.proxies[0].port}`, this.server.url];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxies[0].close();
    await this.server.stop('SIGKILL');
  }
}

const prepare = (): Promise<KafkaStage> => KafkaStage.open();

export const kafkaFaults: readonly Fault<KafkaStage>[] = [...commonFaults('Kafka', prepare)];
