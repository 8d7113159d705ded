import * as path from 'node:path';
import { TailraceError } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Log, type LogReport, openMemoryLog, openSpool, type Spool } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

describe('a spool', () => {
  let directory: string;
  let clock: ManualClock;
  let engine: Log;
  /** What appends to the engine meet; undefined: it takes them. */
  let away: 'refuses' | 'takes and does not answer' | undefined;
  let reports: LogReport[];
  let spool: Spool;

  beforeEach(async () => {
    directory = temporaryDirectory();
    clock = new ManualClock();
    engine = openMemoryLog({ clock });
    away = 'refuses';
    reports = [];
    await open();
  });

  afterEach(async () => {
    await spool.close();
    await engine.close();
  });

  async function open(bytesMax = 1_000_000_000): Promise<void> {
    const failing = new Proxy(engine, {
      get(target, name) {
        if (name === 'append')
          return async (...args: Parameters<Log['append']>) => {
            if (away === 'refuses') throw new TailraceError('engine_unavailable', 'it is away');
            const results = await target.append(...args);
            if (away !== undefined) throw new TailraceError('outcome_unknown', 'no answer came');
            return results;
          };
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
    spool = await openSpool({
      directory: path.join(directory, 'spool'),
      engine: failing,
      clock,
      bytesMax,
      onReport: report => reports.push(report),
    });
  }

  async function take(...messages: Parameters<Spool['append']>[0]): Promise<void> {
    for (const result of await spool.append(messages, 'fsync')) expect(result).not.toHaveProperty('error');
  }

  const isEmpty = (): Promise<void> =>
    until('all is shipped', () => {
      clock.advance(1000);
      return spool.waiting === 0;
    });

  const inEngine = async (): Promise<string[]> =>
    (await readAllOf(engine, ['#'])).map(({ topic, data }) => `${topic} ${Buffer.from(data).toString()}`);

  const numbered = (from: number, to: number): ReturnType<typeof message>[] =>
    Array.from({ length: to - from }, (_, i) => message('a', String(from + i)));

  test('ships what waited in its order, once, when the engine is back', async () => {
    await take(...numbered(0, 300));
    await take(message('b', 'x', { id: 'own' }), message('b', 'y', { producer: 'p', sequence: 7, key: 'k' }));
    expect(spool.waiting).toBe(302);
    expect(await inEngine()).toEqual([]);
    away = undefined;
    await isEmpty();
    expect(await inEngine()).toEqual([...numbered(0, 300).map(({ data }) => `a ${Buffer.from(data)}`), 'b x', 'b y']);
    expect(spool.shipped).toBe(302);
    // who repeats at the engine what waited is told that it is there
    expect(await engine.append([message('b', 'x', { id: 'own' })], 'fsync')).toMatchObject([{ duplicate: true }]);
    expect(await engine.append([message('b', 'y', { producer: 'p', sequence: 7 })], 'fsync')).toMatchObject([
      { duplicate: true },
    ]);
    expect(reports.map(({ kind }) => kind)).toContain('spool_waits');
    await until('it is told', () => reports.some(({ kind }) => kind === 'spool_empty'));
  });

  test('ships once although answers are lost, and although it is killed at any moment', async () => {
    away = 'takes and does not answer';
    await take(...numbered(0, 50));
    await until('it was sent', async () => (await inEngine()).length === 50);
    clock.advance(5000);
    // a new run knows nothing of what the last one sent
    await spool.close();
    await open();
    await take(...numbered(50, 60));
    clock.advance(5000);
    away = undefined;
    await isEmpty();
    expect(await inEngine()).toEqual(numbered(0, 60).map(({ data }) => `a ${Buffer.from(data)}`));
  });

  test('what is not shipped survives a restart', async () => {
    await take(...numbered(0, 20));
    await spool.close();
    await open();
    expect(spool.waiting).toBe(20);
    away = undefined;
    await isEmpty();
    await take(...numbered(20, 22));
    await isEmpty();
    await spool.close();
    await open();
    expect(spool.waiting).toBe(0);
    expect(await inEngine()).toHaveLength(22);
  });

  test('a message that the engine will never take is told, and does not hold up the others', async () => {
    await take(message('a', '1'), message('b', '2'), message('c', '3'));
    await engine.append([message('b', 'end', { end: true })], 'fsync');
    away = undefined;
    await isEmpty();
    expect(await inEngine()).toEqual(['b end', 'a 1', 'c 3']);
    expect([spool.shipped, spool.refused]).toEqual([2, 1]);
    expect(reports.find(({ kind }) => kind === 'spool_refused')?.message).toMatch(
      /a message of b that was taken while the engine was away cannot be published: .*end/,
    );
  });

  test('takes no more than it may, and takes again what was shipped', async () => {
    await spool.close();
    await open(1);
    await take(message('a', '0'));
    await expect(spool.append([message('a', '1')], 'fsync')).rejects.toMatchObject({ code: 'log_full' });
    away = undefined;
    await isEmpty();
    await take(message('a', '1'));
    await isEmpty();
    expect(await inEngine()).toEqual(['a 0', 'a 1']);
  });
});
