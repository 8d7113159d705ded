import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KafkaLogOptions, openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import type { Log } from '../../src/log/log.ts';
import { type ContractSubject, logContract } from '../log/contract.ts';
import { keysContract } from '../log/keys-contract.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('the log in Kafka', () => {
  let server: KafkaServer;
  let made = 0;

  beforeAll(async () => {
    server = await KafkaServer.start();
  });

  afterAll(() => server.stop());

  function subject(more: Partial<KafkaLogOptions>): ContractSubject {
    const names = new WeakMap<Log, string>();
    return {
      async open(clock, options = {}) {
        const name = `log-${++made}`;
        const log = await openKafkaLog({ ...options, ...more, url: server.url, name, clock });
        names.set(log, name);
        return log;
      },
      openLeft: (log, clock) => openKafkaLog({ ...more, url: server.url, name: names.get(log)!, clock }),
    };
  }

  const plain = subject({});
  logContract('the log in Kafka', plain);
  keysContract('the log in Kafka', plain);

  test('a topic cannot be deleted, as its capabilities say, and the refusal says why', async () => {
    const log = await plain.open(new ManualClock());
    await log.append([message('a')], 'fsync');
    expect(log.capabilities.deletes).toBe(false);
    await expect(log.deleteTopic('a')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('Kafka'),
    });
    await log.close();
  });

  // nothing in memory: every read asks the broker
  const cold = subject({ hotBytes: 1 });
  logContract('the log in Kafka beyond its hot tail', cold);
  keysContract('the log in Kafka beyond its hot tail', cold);
});
