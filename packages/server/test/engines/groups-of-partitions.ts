import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock, Delivery, Group, Log } from '../../src/log/index.ts';
import { partitionOf } from '../../src/log/woven/partition-of.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';

const partitions = 4;
const topics = Array.from({ length: 12 }, (_, i) => `job/${i}`);

/** What holds where a log has several partitions. `openBoth`: two nodes of one new log, whose deadlines run by the clock. */
export function groupsOfPartitions(openBoth: (clock: Clock, partitions: number) => Promise<Log[]>): void {
  describe('groups of a log of several partitions', () => {
    let clock: ManualClock;
    let nodes: Log[];

    beforeEach(async () => {
      clock = new ManualClock();
      nodes = await openBoth(clock, partitions);
    });

    afterEach(async () => {
      for (const log of nodes) await log.close();
    });

    function open(filters: readonly string[] = ['job/+']): Promise<Group[]> {
      return Promise.all(nodes.map(log => log.shared!.groups.open('work', { filters, after: 0 })));
    }

    /** Appends so many to each topic; both nodes have read it. */
    async function append(each: number): Promise<void> {
      for (let i = 0; i < each; i++)
        await nodes[i % 2]!.append(
          topics.map(topic => message(topic, String(i))),
          'fsync',
        );
      for (const log of nodes) await log.upToDate();
    }

    const nameOf = ({ partition, offset }: Delivery): string => `${partition} ${offset}`;

    test('share the work of all partitions, each record once, each topic in its order', async () => {
      const [a, b] = (await open()) as [Group, Group];
      await append(20);
      const got: Delivery[] = [];
      const members = Array.from({ length: 10 }, async (_, i) => {
        const group = i % 2 === 0 ? a : b;
        for (;;) {
          const { deliveries } = await group.claim(`m${i}`, 7);
          if (deliveries.length === 0) return;
          got.push(...deliveries);
          // any node takes the ack of any other's member
          expect(await (i % 2 === 0 ? b : a).ack(`m${i}`, deliveries)).toEqual(deliveries.map(() => true));
          expect(await a.ack(`m${i}`, deliveries)).toEqual(deliveries.map(() => false));
        }
      });
      await Promise.all(members);
      expect(got.length).toBe(240);
      expect(new Set(got.map(nameOf)).size).toBe(240);
      for (const { record, partition, offset } of got) {
        expect(partition).toBe(partitionOf(record.topic, partitions));
        expect(record.partitionOffset).toBe(offset);
      }
      expect(await a.status()).toEqual({
        next: 240,
        lag: 0,
        lagMs: 0,
        pending: 0,
        due: 0,
        oldest: undefined,
        missed: 0,
      });
    });

    test('one member gets them by topic in the order in which they were published', async () => {
      const [a] = (await open()) as [Group];
      await append(10);
      const byTopic = new Map<string, string[]>();
      for (let left = 120; left > 0; ) {
        const { deliveries } = await a.claim('ann', 9);
        left -= deliveries.length;
        for (const { record } of deliveries)
          byTopic.set(record.topic, [...(byTopic.get(record.topic) ?? []), Buffer.from(record.data).toString()]);
      }
      for (const topic of topics) expect(byTopic.get(topic)).toEqual(Array.from({ length: 10 }, (_, i) => String(i)));
    });

    test('are given again what was not acked in time, and what was let go', async () => {
      const [a, b] = (await open()) as [Group, Group];
      await append(1);
      const { deliveries } = await a.claim('ann', 12);
      expect(deliveries.length).toBe(12);
      expect(await a.extend('ann', deliveries.slice(0, 6), 20_000)).toEqual(Array(6).fill(true));
      expect(await a.retry('ann', deliveries.slice(6, 9), 0)).toEqual([true, true, true]);
      const again = await b.claim('bob', 100);
      expect(again.deliveries.map(nameOf).sort()).toEqual(deliveries.slice(6, 9).map(nameOf).sort());
      await b.ack('bob', again.deliveries);
      expect((await b.claim('bob', 100)).dueIn).toBe(5000);
      clock.advance(5000);
      const late = await b.claim('bob', 100);
      expect(late.deliveries.map(nameOf).sort()).toEqual(deliveries.slice(9).map(nameOf).sort());
      expect(late.deliveries.every(({ count }) => count === 2)).toBe(true);
      expect(await a.ack('ann', deliveries)).toEqual([...Array(6).fill(true), ...Array(6).fill(false)]);
    });

    test('ask only the partitions in which something may match, and agree on the filters', async () => {
      const [a, b] = (await open(['job/1'])) as [Group, Group];
      await append(2);
      expect((await a.claim('ann', 1)).deliveries).toMatchObject([{ record: { topic: 'job/1' }, count: 1 }]);
      expect((await b.claim('bob', 5)).deliveries).toMatchObject([{ record: { topic: 'job/1' }, count: 1 }]);
      const [first, second] = nodes.map(log => log.shared!.groups);
      expect(await first!.names()).toEqual(['work']);
      expect(first!.opened.map(({ name }) => name)).toEqual(['work']);
      await expect(second!.open('work', { filters: ['job/2'], after: 0 })).rejects.toMatchObject({
        code: 'bad_request',
      });
      const latest = await first!.open('latest', { filters: ['job/+'], after: nodes[0]!.head.offset });
      expect((await latest.claim('ann', 5)).deliveries).toEqual([]);
      await append(1);
      expect((await latest.claim('ann', 100)).deliveries.length).toBe(12);
      await first!.remove('work');
      expect(await first!.names()).toEqual(['latest']);
      await expect(b.claim('bob', 1)).rejects.toMatchObject({ code: 'bad_request' });
    });
  });
}
