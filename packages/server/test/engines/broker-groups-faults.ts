import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { BrokerLog } from '../../src/engines/broker/broker-log.ts';
import type { LedgerOptions } from '../../src/engines/broker/groups/ledger-replica.ts';
import type { Clock } from '../../src/log/clock.ts';
import type { Claim, Group } from '../../src/log/group-store.ts';
import { message, offsetOf, until } from '../log/messages.ts';
import type { FaultyProxy } from './faulty-proxy.ts';
import { Crew } from './group-crew.ts';

export interface BrokerOptions {
  readonly clock?: Clock;
  readonly groups?: LedgerOptions;
}

/** A broker that can be hurt, and a proxy that leads to it. */
export interface HurtBroker {
  readonly url: string;
  readonly proxiedUrl: string;
  readonly proxy: FaultyProxy;
  readonly server: {
    start(): Promise<void>;
    stop(signal: NodeJS.Signals): Promise<void>;
    signal(signal: NodeJS.Signals): void;
  };
  open(url: string, name: string, options?: BrokerOptions): Promise<BrokerLog>;
  /** Entries of the ledger that are left, and the offset of the newest. */
  ledger(name: string): Promise<{ readonly entries: number; readonly head: number }>;
}

const child = new URL('./group-node.ts', import.meta.url).pathname;

/** What groups behind a broker do whatever fails. */
export function groupFaults(startBroker: () => Promise<HurtBroker>): void {
  let broker: HurtBroker;
  let made = 0;
  let name: string;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    broker = await startBroker();
  }, 60_000);

  afterAll(async () => {
    await broker.server.stop('SIGKILL');
    await broker.proxy.close();
  });

  beforeEach(() => {
    name = `work-${++made}`;
  });

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
    broker.proxy.swallowAnswers = false;
    broker.proxy.resume();
  });

  async function open(options: BrokerOptions = {}, url = broker.url): Promise<BrokerLog> {
    const log = await broker.open(url, name, options);
    cleanup.push(() => log.close());
    return log;
  }

  function groupOf(log: BrokerLog, ackDeadline?: number): Promise<Group> {
    return log.groups.open('work', { filters: ['job/#'], after: 0, ackDeadline });
  }

  async function append(log: BrokerLog, count: number): Promise<number[]> {
    const messages = Array.from({ length: count }, (_, i) => message('job/1', `${i}`));
    return (await log.append(messages, 'fsync')).map(offsetOf);
  }

  function offsets({ deliveries }: Claim): number[] {
    return deliveries.map(({ offset }) => offset);
  }

  /** A node of its own process, and the lines that it says. */
  function startNode(deadline: number): {
    readonly said: string[];
    kill(signal: NodeJS.Signals): void;
    ask(line: string): void;
  } {
    const node = spawn(process.execPath, [child, broker.url, name, String(deadline)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    cleanup.push(async () => node.kill('SIGKILL'));
    const said: string[] = [];
    createInterface({ input: node.stdout }).on('line', line => said.push(line));
    return { said, kill: signal => node.kill(signal), ask: line => node.stdin.write(`${line}\n`) };
  }

  async function crewOf(logs: readonly BrokerLog[]): Promise<Crew> {
    return new Crew(await Promise.all(logs.map(log => groupOf(log, 1000))), 4);
  }

  async function finishes(crew: Crew, appended: readonly number[]): Promise<void> {
    await until('all is done', () => appended.every(offset => crew.acked.has(offset)), 40_000);
    await crew.stop();
    expect(crew.again).toEqual([]);
  }

  test('a broker that is killed and comes back: all is done, and nothing that was acked comes again', async () => {
    const logs = [await open(), await open()];
    const crew = await crewOf(logs);
    const appended: number[] = [];
    for (let i = 0; i < 2; i++) {
      for (let n = 0; n < 20; n++) appended.push(...(await append(logs[n % 2]!, 5)));
      await broker.server.stop('SIGKILL');
      await broker.server.start();
    }
    appended.push(...(await append(logs[0]!, 5)));
    await finishes(crew, appended);
  }, 90_000);

  test('a broker that hangs for longer than an answer may take: the same', async () => {
    const logs = [await open(), await open()];
    const crew = await crewOf(logs);
    const appended = await append(logs[0]!, 100);
    broker.server.signal('SIGSTOP');
    const late = append(logs[1]!, 50);
    await new Promise(resolve => setTimeout(resolve, 6000));
    broker.server.signal('SIGCONT');
    appended.push(...(await late));
    await finishes(crew, appended);
  }, 90_000);

  test('connections that are cut all the time: the same', async () => {
    const logs = [await open({}, broker.proxiedUrl), await open()];
    const crew = await crewOf(logs);
    const appended: number[] = [];
    for (let n = 0; n < 20; n++) {
      appended.push(...(await append(logs[n % 2]!, 10)));
      broker.proxy.cut();
    }
    await finishes(crew, appended);
  }, 90_000);

  test('claims and acks whose answers are lost are done once', async () => {
    const [log, other] = [await open({}, broker.proxiedUrl), await open()];
    const [group, watch] = [await groupOf(log, 60_000), await groupOf(other)];
    await append(other, 4);
    await until('it is read', () => log.head.offset === 4);
    expect(offsets(await group.claim('bob', 1))).toEqual([1]);
    broker.proxy.swallowAnswers = true;
    const claiming = group.claim('ann', 3);
    await until('it is claimed', async () => (await watch.status()).pending === 4);
    broker.proxy.swallowAnswers = false;
    broker.proxy.cut();
    const { deliveries } = await claiming;
    expect(deliveries).toMatchObject([2, 3, 4].map(offset => ({ offset, count: 1 })));

    // both connections are there again
    expect(await group.extend('ann', deliveries)).toEqual([true, true, true]);
    broker.proxy.swallowAnswers = true;
    const acking = group.ack('ann', deliveries);
    await until('it is acked', async () => (await watch.status()).pending === 1);
    broker.proxy.swallowAnswers = false;
    broker.proxy.cut();
    expect(await acking).toEqual([true, true, true]);
    expect(await watch.status()).toMatchObject({ pending: 1, next: 4 });
  }, 60_000);

  test('a node that stands still beyond its deadlines, or is killed, loses nothing, and learns that it came too late', async () => {
    const log = await open();
    const group = await groupOf(log, 60_000);
    await append(log, 10);
    const stopped = startNode(1000);
    await until('it holds some', () => stopped.said.length === 1);
    expect(stopped.said).toEqual(['holds 1 2 3 4 5']);
    stopped.kill('SIGSTOP');
    expect(offsets(await group.claim('bob', 10))).toEqual([6, 7, 8, 9, 10]);
    let late: Claim['deliveries'] = [];
    await until('its records are given again', async () => {
      late = [...late, ...(await group.claim('bob', 10)).deliveries];
      return late.length === 5;
    });
    expect(late).toMatchObject([1, 2, 3, 4, 5].map(offset => ({ offset, count: 2 })));
    stopped.kill('SIGCONT');
    stopped.ask('acked');
    await until('it hears', () => stopped.said.length === 2);
    expect(stopped.said[1]).toBe('acked false false false false false');
    expect(await group.ack('bob', late)).toEqual([true, true, true, true, true]);

    await append(log, 5);
    const killed = startNode(1000);
    await until('it holds some', () => killed.said.length === 1);
    killed.kill('SIGKILL');
    late = [];
    await until('its records are given again', async () => {
      late = [...late, ...(await group.claim('bob', 10)).deliveries];
      return late.length === 5;
    });
    expect(late.map(({ count }) => count)).toEqual([2, 2, 2, 2, 2]);
  }, 60_000);

  test('deadlines run by the clock of the broker, whatever the clocks of nodes show', async () => {
    const { systemClock } = await import('../../src/log/clock.ts');
    const ahead = Object.assign(Object.create(systemClock) as Clock, { now: () => Date.now() + 3_600_000 });
    const [log, fast] = [await open(), await open({ clock: ahead })];
    const [group, other] = [await groupOf(log, 60_000), await groupOf(fast, 60_000)];
    await append(log, 2);
    expect(offsets(await group.claim('ann', 1))).toEqual([1]);
    const { deliveries, dueIn } = await other.claim('bob', 5);
    expect(deliveries.map(({ offset }) => offset)).toEqual([2]);
    expect(dueIn).toBeGreaterThan(50_000);
    expect(dueIn).toBeLessThanOrEqual(60_000);
  });

  test('the ledger stays small; a node that comes late knows all, and one that was cut off comes back', async () => {
    const groups = { checkpointBytes: 4000 };
    const [log, behind] = [await open({ groups }), await open({ groups }, broker.proxiedUrl)];
    const [group, late] = [await groupOf(log, 60_000), await groupOf(behind, 60_000)];
    await append(log, 200);
    const kept = (await group.claim('keeps', 7)).deliveries;
    broker.proxy.stall();
    for (let left = 180; left > 0; left -= 3) {
      const { deliveries } = await group.claim('ann', 3);
      expect(await group.ack('ann', deliveries)).toEqual([true, true, true]);
    }
    await until('it is trimmed', async () => {
      const { entries, head } = await broker.ledger(name);
      return entries < head / 2;
    });
    broker.proxy.cut();
    broker.proxy.resume();
    const fresh = await groupOf(await open({ groups }));
    expect(await fresh.status()).toEqual(await group.status());
    expect(offsets(await fresh.claim('bob', 5))).toEqual([188, 189, 190, 191, 192]);
    await until('it has read what is new', () => behind.head.offset === 200);
    expect(offsets(await late.claim('carol', 20))).toEqual([193, 194, 195, 196, 197, 198, 199, 200]);
    expect(await fresh.ack('keeps', kept)).toEqual(kept.map(() => true));
    expect(await late.status()).toMatchObject({ pending: 13, next: 200, missed: 0 });
  }, 60_000);
}
