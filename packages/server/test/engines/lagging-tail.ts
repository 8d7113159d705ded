import { expect } from 'vitest';
import type { Log, TailLag } from '../../src/log/index.ts';
import { partitionOf } from '../../src/log/woven/spread.ts';
import { message, until } from '../log/messages.ts';
import type { FaultyProxy } from './faulty-proxy.ts';

const count = 12;
const large = 'x'.repeat(300_000);

/**
 * `late`, behind `proxy`, hears nothing while `other` appends; then it catches up with more than comes at once. Both have
 * several partitions.
 */
export async function catchesUp(late: Log, other: Log, proxy: FaultyProxy): Promise<void> {
  const tails = late.shared!.tails as readonly TailLag[];
  const names = tails.map(({ partition }) => partition);
  expect(names).toEqual(names.map((_, i) => `${i}`));
  const topics = Array.from({ length: 100 }, (_, i) => `t/${i}`);
  const busy = topics.find(topic => partitionOf(topic, names.length) === 1)!;
  const idle = topics.find(topic => partitionOf(topic, names.length) === 2)!;
  await late.append([message(busy), message(idle)], 'fsync');
  proxy.stall();
  await other.append(
    Array.from({ length: count }, () => message(busy, large)),
    'fsync',
  );
  const most = names.map(() => 0);
  let longest = 0;
  late.tail({
    onCommit: () => {
      for (const [i, { records, ms }] of tails.entries()) {
        most[i] = Math.max(most[i]!, records);
        if (i === 1) longest = Math.max(longest, ms);
      }
    },
  });
  // what waited in the proxy is lost
  proxy.cut();
  proxy.resume();
  await until('all has come', () => late.hot.newest(busy, 100, late.head.offset).length === count + 1, 30_000);
  expect(most[1]).toBeGreaterThan(0);
  expect(most[1]).toBeLessThan(count);
  expect(longest).toBeGreaterThan(0);
  expect([most[0], ...most.slice(2)]).toEqual([0, ...names.slice(2).map(() => 0)]);
  expect(tails.map(({ records, ms }) => [records, ms])).toEqual(names.map(() => [0, 0]));
}
