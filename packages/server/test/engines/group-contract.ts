import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Claim, Group, GroupStore } from '../../src/log/group-store.ts';
import type { Log } from '../../src/log/log.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message, offsetOf, until } from '../log/messages.ts';

/** A log and its groups on one node. */
export interface GroupNode {
  readonly log: Log;
  readonly groups: GroupStore;
}

export interface GroupSubject {
  /** Nodes of one new log, whose deadlines run by this clock. */
  open(clock: ManualClock, nodes: number): Promise<readonly GroupNode[]>;
}

/** What every implementation of `GroupStore` must do: see the contract in src/log/group-store.ts. */
export function groupContract(name: string, subject: GroupSubject): void {
  describe(`${name} keeps the contract of GroupStore`, () => {
    let clock: ManualClock;
    let nodes: readonly GroupNode[];
    let a: Group;
    let b: Group;

    beforeEach(async () => {
      clock = new ManualClock();
      nodes = await subject.open(clock, 2);
      [a, b] = (await Promise.all(
        nodes.map(({ groups }) => groups.open('work', { filters: ['job/+'], after: 0 })),
      )) as [Group, Group];
    });

    afterEach(async () => {
      for (const { log } of nodes) await log.close();
    });

    async function append(...topics: string[]): Promise<number[]> {
      const results = await nodes[0]!.log.append(
        topics.map((topic, i) => message(topic, `${topic} ${i}`)),
        'fsync',
      );
      await everywhere();
      return results.map(offsetOf);
    }

    async function everywhere(): Promise<void> {
      const { log } = nodes[0]!;
      await until('all nodes have read it', () => nodes.every(node => node.log.head.offset === log.head.offset));
    }

    function offsets({ deliveries }: Claim): number[] {
      return deliveries.map(({ offset }) => offset);
    }

    test('each record that matches goes to one member, in the order of the log, with what it holds', async () => {
      expect(nodes[0]!.log.capabilities.groups).toBe(true);
      await append('job/1', 'other', 'job/2', 'job/3/x', 'job/4', 'other', 'job/5');
      const first = await a.claim('ann', 2);
      const second = await b.claim('bob', 10);
      expect([offsets(first), offsets(second)]).toEqual([
        [1, 3],
        [5, 7],
      ]);
      expect(second.deliveries[0]).toMatchObject({
        offset: 5,
        count: 1,
        epoch: nodes[0]!.log.epochOf(5),
        record: { offset: 5, topic: 'job/4' },
      });
      expect(Buffer.from(second.deliveries[0]!.record.data).toString()).toBe('job/4 4');
      expect(offsets(await a.claim('ann', 10))).toEqual([]);
    });

    test('a group begins where it is told to, and many at once share the work without a double', async () => {
      await append('job/1', 'job/2');
      const late = await nodes[0]!.groups.open('late', { filters: ['job/#', 'x'], after: 1 });
      const there = await nodes[1]!.groups.open('late', { filters: ['x', 'job/#'], after: 0 });
      await append(...Array.from({ length: 298 }, (_, i) => `job/${i}`));
      const claims = await Promise.all(
        Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? late : there).claim(`m${i}`, 9)),
      );
      const got = claims.flatMap(offsets);
      expect(got.sort((x, y) => x - y)).toEqual(Array.from({ length: 299 }, (_, i) => i + 2));
      expect(await nodes[0]!.groups.names()).toEqual(['late', 'work']);
    });

    test('what is not acked in time is given again, and counted; who comes too late learns it', async () => {
      await append('job/1', 'job/2');
      const first = await a.claim('ann', 10);
      expect(first.dueIn).toBe(5000);
      clock.advance(4999);
      expect(await b.claim('bob', 10)).toEqual({ deliveries: [], dueIn: 1 });
      expect(await a.ack('ann', first.deliveries.slice(0, 1))).toEqual([true]);
      clock.advance(1);
      const again = await b.claim('bob', 10);
      expect(again.deliveries).toMatchObject([{ offset: 2, count: 2, record: { topic: 'job/2' } }]);
      expect(await a.ack('ann', first.deliveries)).toEqual([false, false]);
      expect(await a.extend('ann', first.deliveries)).toEqual([false, false]);
      expect(await a.retry('ann', first.deliveries, 0)).toEqual([false, false]);
      expect(await b.ack('bob', again.deliveries)).toEqual([true]);
      expect(await b.ack('bob', again.deliveries)).toEqual([false]);
      clock.advance(60_000);
      expect(await a.claim('ann', 10)).toEqual({ deliveries: [], dueIn: undefined });
    });

    test("after the deadline a record is still its member's until somebody else has it", async () => {
      await append('job/1');
      const { deliveries } = await a.claim('ann', 1);
      clock.advance(20_000);
      expect(await a.ack('ann', deliveries)).toEqual([true]);
      expect(offsets(await b.claim('bob', 1))).toEqual([]);
    });

    test('a receipt is good for its member and for its delivery alone', async () => {
      await append('job/1');
      const { deliveries } = await a.claim('ann', 1);
      const [receipt] = deliveries;
      expect(await a.ack('bob', deliveries)).toEqual([false]);
      expect(await a.ack('ann', [{ ...receipt!, count: 2 }])).toEqual([false]);
      expect(await a.ack('ann', [{ ...receipt!, epoch: 7 }])).toEqual([false]);
      clock.advance(5000);
      const again = await a.claim('ann', 1);
      expect(await a.ack('ann', deliveries)).toEqual([false]);
      expect(await b.ack('ann', again.deliveries)).toEqual([true]);
    });

    test('who needs longer says so, again and again, and for as long as it likes', async () => {
      await append('job/1');
      const { deliveries } = await a.claim('ann', 1);
      for (let i = 0; i < 4; i++) {
        clock.advance(4000);
        expect(await b.extend('ann', deliveries)).toEqual([true]);
        expect(offsets(await b.claim('bob', 1))).toEqual([]);
      }
      expect(await a.extend('ann', deliveries, 60_000)).toEqual([true]);
      clock.advance(59_999);
      expect(offsets(await b.claim('bob', 1))).toEqual([]);
      clock.advance(1);
      expect((await b.claim('bob', 1)).deliveries).toMatchObject([{ offset: 1, count: 2 }]);
    });

    test('who lets go is rid of it at once; somebody gets it after the delay, however long', async () => {
      await append('job/1', 'job/2');
      const { deliveries } = await a.claim('ann', 2);
      expect(await a.retry('ann', deliveries.slice(0, 1), 0)).toEqual([true]);
      expect(await a.retry('ann', deliveries.slice(1), 600_000)).toEqual([true]);
      expect(await a.ack('ann', deliveries)).toEqual([false, false]);
      const again = await b.claim('bob', 10);
      expect(again.deliveries).toMatchObject([{ offset: 1, count: 2 }]);
      await b.ack('bob', again.deliveries);
      clock.advance(599_999);
      expect(await b.claim('bob', 10)).toEqual({ deliveries: [], dueIn: 1 });
      clock.advance(1);
      expect((await b.claim('bob', 10)).deliveries).toMatchObject([{ offset: 2, count: 2 }]);
    });

    test("what was removed from the log is nobody's work, and is counted", async () => {
      await append('job/1', 'job/2', 'job/3', 'job/4', 'job/5');
      await a.claim('ann', 2);
      await nodes[0]!.log.trim(4);
      await until('both know', () => nodes.every(({ log }) => log.floor === 4));
      clock.advance(5000);
      expect(offsets(await b.claim('bob', 10))).toEqual([5]);
      expect(await b.status()).toMatchObject({ next: 5, pending: 1, missed: 4 });
    });

    test("the records of a deleted topic are nobody's work any more", async () => {
      await append('job/1', 'job/2', 'job/1', 'job/2');
      const { deliveries } = await a.claim('ann', 2);
      const deleting = nodes[0]!.log.deleteTopic('job/1');
      if (!nodes[0]!.log.capabilities.deletes) {
        await expect(deleting).rejects.toMatchObject({ code: 'unsupported' });
        return;
      }
      await deleting;
      await until('both know', () => nodes.every(({ log }) => log.deletions.byTopic.has('job/1')));
      clock.advance(5000);
      const again = await b.claim('bob', 10);
      expect(offsets(again)).toEqual([2, 4]);
      await b.ack('bob', again.deliveries);
      expect(await a.ack('ann', deliveries)).toEqual([false, false]);
      expect(await a.status()).toMatchObject({ next: 4, pending: 0, lag: 0 });
    });

    test('a clock that goes back leaves everybody the time that was left', async () => {
      await append('job/1');
      await a.claim('ann', 1);
      clock.wall -= 3_600_000;
      expect(await b.claim('bob', 1)).toEqual({ deliveries: [], dueIn: 5000 });
      clock.advance(4999);
      expect(await b.claim('bob', 1)).toEqual({ deliveries: [], dueIn: 1 });
      clock.advance(1);
      expect((await b.claim('bob', 1)).deliveries).toMatchObject([{ offset: 1, count: 2 }]);
    });

    test('the status says how far it is, what is pending, and what waits', async () => {
      await append('job/1', 'other', 'job/2');
      clock.advance(2000);
      await append('job/3', 'other');
      await a.claim('ann', 2);
      expect(await b.status()).toEqual({ next: 3, lag: 2, lagMs: 2000, pending: 2, due: 0, oldest: 1, missed: 0 });
      clock.advance(5000);
      const { deliveries } = await b.claim('bob', 1);
      await b.ack('bob', deliveries);
      expect(await a.status()).toMatchObject({ pending: 1, due: 1, oldest: 3 });
      await a.claim('ann', 10);
      expect(await a.status()).toMatchObject({ next: 5, lag: 0, lagMs: 0, pending: 2, due: 0 });
    });

    test('no more is pending than may be; acks make room', async () => {
      for (let i = 0; i < 11; i++) await append(...Array.from({ length: 1000 }, () => 'job/1'));
      let held: Claim['deliveries'] = [];
      for (let i = 0; i < 11; i++) {
        const { deliveries } = await a.claim('ann', 1000);
        held = [...held, ...deliveries];
      }
      expect(held.length).toBe(10_000);
      expect(offsets(await b.claim('bob', 1))).toEqual([]);
      expect((await b.ack('ann', held.slice(0, 1500))).every(Boolean)).toBe(true);
      expect(offsets(await b.claim('bob', 2))).toEqual([10_001, 10_002]);
      expect(await a.status()).toMatchObject({ next: 10_002, pending: 8502, oldest: 1501 });
    });

    test('a group that matches next to nothing comes to the head of a long log', async () => {
      for (let i = 0; i < 25; i++) await append(...Array.from({ length: 1000 }, () => 'other'));
      const [last] = await append('job/1');
      expect(offsets(await a.claim('ann', 1))).toEqual([last]);
      expect(await b.status()).toMatchObject({ lag: 0 });
    });

    test('groups know nothing of each other; one that was removed is told, and can begin anew', async () => {
      await append('job/1', 'other');
      const { groups } = nodes[0]!;
      const other = await groups.open('other', { filters: ['#'], after: 0 });
      expect(offsets(await a.claim('ann', 10))).toEqual([1]);
      expect(offsets(await other.claim('ann', 10))).toEqual([1, 2]);
      await groups.remove('other');
      await expect(other.claim('ann', 1)).rejects.toMatchObject({ code: 'bad_request' });
      expect(await groups.names()).toEqual(['work']);
      await other.close();
      const anew = await groups.open('other', { filters: ['other'], after: 0 });
      expect(offsets(await anew.claim('ann', 10))).toEqual([2]);
      await expect(nodes[1]!.groups.open('other', { filters: ['#'], after: 0 })).rejects.toMatchObject({
        code: 'bad_request',
      });
      expect(groups.opened.map(group => group.name)).toEqual(['work', 'other']);
    });
  });
}
