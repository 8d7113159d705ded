import { expect, test } from 'vitest';
import type { Clock } from '../../src/log/clock.ts';
import type { Log } from '../../src/log/log.ts';
import type { CommonLogOptions } from '../../src/log/options.ts';
import { type ContractSubject, logContract } from '../log/contract.ts';
import { keysContract } from '../log/keys-contract.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';

export interface NamedLogOptions extends CommonLogOptions {
  readonly name: string;
  readonly clock: Clock;
}

let made = 0;

/** Logs in a server that has room for many, each under a name of its own. */
export function namedSubject(
  open: (options: NamedLogOptions) => Promise<Log>,
  more: CommonLogOptions = {},
): ContractSubject {
  const names = new WeakMap<Log, string>();
  return {
    async open(clock, options = {}) {
      const name = `log-${++made}`;
      const log = await open({ ...options, ...more, name, clock });
      names.set(log, name);
      return log;
    },
    openLeft: (log, clock) => open({ ...more, name: names.get(log)!, clock }),
  };
}

/** What every log behind a broker that knows nothing of it promises. `broker`: as people call it. */
export function brokerContract(broker: string, open: (options: NamedLogOptions) => Promise<Log>): void {
  const plain = namedSubject(open);
  logContract(`the log in ${broker}`, plain);
  keysContract(`the log in ${broker}`, plain);

  test('a topic cannot be deleted, as its capabilities say, and the refusal says why', async () => {
    const log = await plain.open(new ManualClock());
    await log.append([message('a')], 'fsync');
    expect(log.capabilities.deletes).toBe(false);
    await expect(log.deleteTopic('a')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining(broker),
    });
    await log.close();
  });

  // nothing in memory: every read asks the broker
  const cold = namedSubject(open, { hotBytes: 1 });
  logContract(`the log in ${broker} beyond its hot tail`, cold);
  keysContract(`the log in ${broker} beyond its hot tail`, cold);
}
