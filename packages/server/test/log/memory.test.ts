import { describe, expect, test } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { type ContractSubject, logContract } from './contract.ts';
import { deletionContract } from './deletion-contract.ts';
import { keysContract } from './keys-contract.ts';
import { ManualClock } from './manual-clock.ts';
import { message } from './messages.ts';

const memory: ContractSubject = {
  open: (clock, options = {}) => Promise.resolve(openMemoryLog({ ...options, clock })),
  openLeft: (_, clock) => Promise.resolve(openMemoryLog({ clock })),
};

logContract('the memory log', memory);
keysContract('the memory log', memory);
deletionContract('the memory log', memory);

describe('the memory log', () => {
  test('keeps no more bytes than it may, and tells by its floor', async () => {
    const log = openMemoryLog({ retention: { bytes: 10_000 } });
    for (let i = 0; i < 100; i++) await log.append([message('a', 'x'.repeat(300))], 'fsync');
    expect(log.hot.bytes).toBeLessThanOrEqual(10_000);
    expect(log.floor).toBeGreaterThan(70);
    expect((await log.newest({ ...noTopics, exact: new Set(['a']) }, 1000, 100)).length).toBe(100 - log.floor);
    await log.close();
  });

  test('forgets by age, and the end of a topic with its record', async () => {
    const clock = new ManualClock();
    const log = openMemoryLog({ clock, retention: { age: 60_000 } });
    await log.append([message('a', '1', { end: true })], 'fsync');
    clock.advance(50_000);
    await log.append([message('b')], 'fsync');
    expect(log.floor).toBe(0);
    clock.advance(20_000);
    expect(log.floor).toBe(1);
    expect(await log.append([message('a')], 'fsync')).toMatchObject([{ offset: 3 }]);
    await log.close();
    expect(clock.timers).toBe(0);
  });
});

const noTopics = { filters: ['a'], key: 'a', matches: () => false };
