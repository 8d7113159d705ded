import { filterSet } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import { type DiskLogOptions, openDiskLog } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, offsetOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const directory = '/data';
const keep = { rules: [{ filter: 't/#', lastPerKey: true }] } as const;

function start(options: Partial<DiskLogOptions> = {}) {
  const machine = new SimulatedDisk(new SeededRandom(5));
  const clock = new ManualClock();
  const open = () => openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 4096, keep, ...options });
  return { machine, clock, open };
}

test('what a full disk refused is taken back from the keys', async () => {
  const { machine, clock, open } = start();
  const log = await open();
  const set = (data: string, expected: number) =>
    log.append([message('t/a', data, { key: 'k', expect: expected })], 'fsync');
  expect(await set('1', 0)).toMatchObject([{ offset: 1 }]);
  await until('the segment is filled', () => machine.usedBytes >= 4096);
  machine.capacity = machine.usedBytes;
  let newest = 1;
  let refused: unknown;
  for (let i = 0; i < 30 && refused === undefined; i++) {
    // two on their way at once: the second builds on the first
    const [first, second] = await Promise.allSettled([set('x'.repeat(500), newest), set('x'.repeat(500), newest + 1)]);
    for (const settled of [first!, second!]) {
      if (settled.status === 'fulfilled') newest = offsetOf(settled.value[0]);
      else refused = settled.reason;
    }
  }
  expect(refused).toMatchObject({ code: 'log_full' });
  expect(log.head.offset).toBe(newest);
  expect(await log.keyAt('t/a', 'k')).toBe(newest);
  machine.capacity = Number.POSITIVE_INFINITY;
  clock.advance(1000);
  await until('space is back', () => log.status.state === 'open');
  expect(await set('again', newest + 1)).toMatchObject([
    { error: { code: 'expect_failed', current: { offset: newest } } },
  ]);
  expect(await set('again', newest)).toMatchObject([{ offset: newest + 1 }]);
  await log.close();
});

test('an expectation that waits for its keys behind an append that is refused is judged without it', async () => {
  const { machine, open } = start();
  const log = await open();
  await log.append([message('t/a', '1', { key: 'k' })], 'fsync');
  await until('the segment is filled', () => machine.usedBytes >= 4096);
  machine.capacity = machine.usedBytes;
  const [refused, judged] = await Promise.allSettled([
    log.append([message('t/a', 'x'.repeat(8000), { key: 'k' })], 'fsync'),
    log.append([message('t/a', '', { key: 'k', expect: 1 })], 'fsync'),
  ]);
  expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'log_full' } });
  // it may find room behind the first record or not, but it is never told of a record that is not there
  if (judged.status === 'fulfilled') expect(judged.value).toMatchObject([{ offset: 2 }]);
  else expect(judged.reason).toMatchObject({ code: 'log_full' });
  await log.close();
});

test('a log that is fenced refuses what waits for its keys', async () => {
  const { machine, open } = start();
  const log = await open();
  await log.append([message('t/a', '1', { key: 'k' })], 'fsync');
  await until('the files are filled', () => machine.usedBytes >= 4096);
  machine.fault = (operation, file) => {
    if (operation === 'sync') throw failure('EIO', file);
  };
  const [unknown, refused] = await Promise.allSettled([
    log.append([message('t/a', '2', { key: 'k' })], 'fsync'),
    log.append([message('t/a', '3', { key: 'k', expect: 2 })], 'fsync'),
  ]);
  expect(unknown).toMatchObject({ status: 'rejected', reason: { code: 'outcome_unknown' } });
  expect(refused).toMatchObject({
    status: 'rejected',
    reason: { code: expect.stringMatching(/log_fenced|outcome_unknown/) },
  });
  await log.close();
});

test('keys and expectations are the same after each of many restarts, killed or closed', async () => {
  const { machine, open } = start({ hotBytes: 1 });
  const random = new SeededRandom(11);
  const model = new Map<string, number>();
  for (let run = 0; run < 12; run++) {
    const log = await open();
    const { offsets } = await log.current(filterSet(['t/#']));
    expect([...offsets]).toEqual([...model.values()].sort((a, b) => a - b));
    for (let i = 0; i < 20; i++) {
      const topic = `t/${random.below(2)}`;
      const key = `k${random.below(4)}`;
      const name = `${topic} ${key}`;
      const right = random.below(3) > 0;
      const expected = (model.get(name) ?? 0) + (right ? 0 : 1000);
      const deletes = random.below(4) === 0;
      const [result] = await log.append([message(topic, deletes ? '' : '1', { key, expect: expected })], 'fsync');
      expect('offset' in result!).toBe(right);
      if (!right) {
        const current = model.has(name) ? { offset: model.get(name) } : null;
        expect(result).toMatchObject({ error: { code: 'expect_failed', current } });
      } else if (deletes) model.delete(name);
      else model.set(name, offsetOf(result));
    }
    if (random.below(2) === 0) machine.kill();
    else await log.close();
  }
});

test('a table larger than the room is served and not kept, and drives out none that fits', async () => {
  const clock = new ManualClock();
  const { machine } = start();
  const log = await openDiskLog({ directory, disk: machine.boot(), clock, keep, keyIndexBytes: 2000 });
  const put = (topic: string, count: number) =>
    log.append(
      Array.from({ length: count }, (_, i) => message(topic, '1', { key: `k${i}` })),
      'fsync',
    );
  await put('t/small', 3);
  await put('t/large', 100);
  expect(await log.keyAt('t/small', 'k2')).toBe(3);
  expect(log.memory).toMatchObject({ tables: 1, tableLoads: 1 });
  for (let i = 1; i <= 3; i++) {
    expect(await log.keyAt('t/large', 'k99')).toBe(103);
    expect(log.memory).toMatchObject({ tables: 1, tableLoads: 1 + i });
    expect(log.memory.tableBytes).toBeLessThan(2000);
  }
  expect(await log.keyAt('t/small', 'k0')).toBe(1);
  expect((await log.current(filterSet(['t/+']))).offsets).toHaveLength(103);
  const { tableLoads } = log.memory;
  // one that grows out of its room goes too
  await put('t/small', 100);
  expect(log.memory).toMatchObject({ tables: 0, tableBytes: 0 });
  expect(log.memory.tableLoads).toBe(tableLoads);
  await log.close();
});
