import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsLogOptions, openNatsLog } from '../../src/engines/nats/nats-log.ts';
import type { Log } from '../../src/log/log.ts';
import { type ContractSubject, logContract } from '../log/contract.ts';
import { keysContract } from '../log/keys-contract.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

withNats('the log in NATS', () => {
  let server: NatsServer;
  let made = 0;

  beforeAll(async () => {
    server = await NatsServer.start();
  });

  afterAll(() => server.stop());

  function subject(more: Partial<NatsLogOptions>): ContractSubject {
    const names = new WeakMap<Log, string>();
    return {
      async open(clock, options = {}) {
        const name = `log-${++made}`;
        const log = await openNatsLog({ ...options, ...more, url: server.url, synced: true, name, clock });
        names.set(log, name);
        return log;
      },
      openLeft: (log, clock) => openNatsLog({ ...more, url: server.url, synced: true, name: names.get(log)!, clock }),
    };
  }

  const plain = subject({});
  logContract('the log in NATS', plain);
  keysContract('the log in NATS', plain);

  test('a topic cannot be deleted, as its capabilities say, and the refusal says why', async () => {
    const log = await plain.open(new ManualClock());
    await log.append([message('a')], 'fsync');
    expect(log.capabilities.deletes).toBe(false);
    await expect(log.deleteTopic('a')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('NATS'),
    });
    await log.close();
  });

  // nothing in memory: every read asks the server
  const cold = subject({ hotBytes: 1 });
  logContract('the log in NATS beyond its hot tail', cold);
  keysContract('the log in NATS beyond its hot tail', cold);
});
