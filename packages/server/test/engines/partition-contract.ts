import { describe, expect, type TestContext, test } from 'vitest';
import type {
  BrokerPartition,
  Entry,
  Following,
  NewEntry,
  PartitionState,
} from '../../src/engines/broker-partition.ts';
import { until } from '../log/messages.ts';
import type { FaultyProxy } from './faulty-proxy.ts';

export interface PartitionSubject {
  /** A client of the partition of this name, not open yet; `proxy`: the network between it and the broker. */
  client(name: string, proxy?: FaultyProxy): BrokerPartition;
  /** A network before the broker that can fail. */
  startProxy(): Promise<FaultyProxy>;
  /** Deletes the partition of this name, as an operator does. */
  delete(name: string): Promise<void>;
}

const startTime = 1_700_000_000_000;
let names = 0;

/** What every implementation of `BrokerPartition` must do: see src/engines/broker-partition.ts. */
export function partitionContract(broker: string, subject: PartitionSubject): void {
  // some of them wait until silence is noticed
  describe.concurrent(`a partition in ${broker} keeps the contract of BrokerPartition`, () => {
    async function stage({ onTestFinished }: TestContext) {
      const name = `partition-${++names}`;
      const cleanup: (() => Promise<unknown>)[] = [];
      onTestFinished(async () => {
        for (const step of cleanup.splice(0).reverse()) await step();
      });
      const open = async (proxy?: FaultyProxy): Promise<BrokerPartition> => {
        const client = subject.client(name, proxy);
        cleanup.push(() => client.close());
        await client.open();
        return client;
      };
      const network = async (): Promise<FaultyProxy> => {
        const proxy = await subject.startProxy();
        cleanup.push(() => proxy.close());
        return proxy;
      };
      const follow = (client: BrokerPartition, after = 0): Follower => {
        const follower = new Follower(client, after);
        cleanup.push(() => follower.following.close());
        return follower;
      };
      return { name, partition: await open(), open, network, follow };
    }

    test('a new one is empty and answers everything', async context => {
      const { partition } = await stage(context);
      const state = await partition.state();
      expect(state.id).toMatch(/^[a-z0-9]{4,16}$/);
      expect(state).toMatchObject({ floor: 0, head: 0 });
      expect(state.epochs.length).toBeGreaterThan(0);
      expect(await partition.read(0, 10, 1000)).toEqual({ after: 0, entries: [], next: 0 });
      expect(await partition.firstSince(0)).toBeUndefined();
      expect(await partition.append([])).toEqual([]);
      await partition.trim(0);
      await partition.probe();
      expect(await partition.state()).toMatchObject({ id: state.id, floor: 0, head: 0 });
    });

    test('offsets begin at 1 and follow the order of calls; what was appended comes back', async context => {
      const { partition, follow } = await stage(context);
      const follower = follow(partition);
      const sent = [entries(1), entries(3, 1), entries(40, 4), entries(1, 44), entries(300, 45)];
      const offsets = await Promise.all(sent.map(some => partition.append(some)));
      expect(offsets.map(some => some.length)).toEqual([1, 3, 40, 1, 300]);
      const all = offsets.flat();
      expect(all[0]).toBe(1);
      expectAscending(all);
      await follower.reaches(all[344]!);
      const expected = sent.flat().map((entry, i) => plain({ ...entry, offset: all[i]! }));
      expect(follower.entries.map(plain)).toEqual(expected);
      expect((await readAll(partition)).map(plain)).toEqual(expected);
      expect(await partition.state()).toMatchObject({ floor: 0, head: all[344] });
    });

    test('entries of any size and any bytes', async context => {
      const { partition } = await stage(context);
      const sizes = [0, 1, 7, 1000, 70_000, 900_000, 3];
      const sent = sizes.map((size, i) => ({ time: startTime + i, bytes: Buffer.alloc(size, i * 37) }));
      await partition.append(sent);
      for (const one of sent) await partition.append([one]);
      expect(
        (await readAll(partition)).map(({ bytes }) => bytes.equals(Buffer.alloc(bytes.length, bytes[0] ?? 0))),
      ).toEqual(Array(14).fill(true));
      expect((await readAll(partition)).map(({ bytes }) => bytes.length)).toEqual([...sizes, ...sizes]);
    });

    test('all clients see the same entries at the same offsets', async context => {
      const { partition, open, follow } = await stage(context);
      const other = await open();
      const followers = [follow(partition), follow(other)];
      expect((await other.state()).id).toBe((await partition.state()).id);
      const offsets = await Promise.all(
        Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? partition : other).append(entries((i % 3) + 1, i * 10))),
      );
      const all = offsets.flat();
      expect(new Set(all).size).toBe(120);
      for (const follower of followers) await follower.reaches(Math.max(...all));
      expect(followers[0]!.entries.map(plain)).toEqual(followers[1]!.entries.map(plain));
      // of each client in the order of its calls
      for (const turn of [0, 1]) expectAscending(offsets.filter((_, i) => i % 2 === turn).flat());
      for (const [i, some] of offsets.entries())
        for (const [j, offset] of some.entries())
          expect(textAt(followers[0]!.entries, offset)).toBe(textOf(entries(1, i * 10 + j)[0]!));
    });

    test('a read ends at about maxBytes or at its end, holds at least one entry, and says how far it read', async context => {
      const { partition } = await stage(context);
      const offsets = await partition.append(entries(50, 0, 1000));
      const first = await partition.read(0, offsets[49]!, 1);
      expect(first.after).toBe(0);
      expect(first.entries.map(({ offset }) => offset)).toEqual([first.next]);
      const some = await partition.read(offsets[9]!, offsets[49]!, 5000);
      expect(some.entries[0]!.offset).toBe(offsets[10]);
      expect(some.entries.length).toBeGreaterThan(2);
      expect(some.entries.length).toBeLessThan(10);
      expect(some.next).toBe(some.entries[some.entries.length - 1]!.offset);
      const range = await partition.read(offsets[9]!, offsets[14]!, 1_000_000);
      expect(range.entries.map(({ offset }) => offset)).toEqual(offsets.slice(10, 15));
      expect(range.next).toBe(offsets[14]);
      const end = await partition.read(offsets[44]!, 1_000_000, 1_000_000);
      expect(end.entries).toHaveLength(5);
      expect(end.next).toBe(offsets[49]);
      expect(await partition.read(offsets[49]!, offsets[49]!, 1000)).toMatchObject({ entries: [], next: offsets[49] });
      const parallel = await Promise.all(offsets.map(offset => partition.read(offset - 1, offset, 1)));
      expect(parallel.flatMap(read => read.entries.map(({ offset }) => offset))).toEqual(offsets);
    });

    test('a read whose connection is cut goes on over another', async context => {
      const { partition, open, network } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      const offsets = await partition.append(entries(20));
      for (let i = 0; i < 5; i++) {
        proxy.stall();
        const read = client.read(0, offsets[19]!, 1_000_000);
        // until it is on its way
        await new Promise(resolve => setTimeout(resolve, 20));
        proxy.cut();
        proxy.resume();
        expect((await read).entries.map(({ offset }) => offset)).toEqual(offsets);
      }
    });

    test('a follower begins where it is told, and goes back when it is told', async context => {
      const { partition, follow } = await stage(context);
      const offsets = await partition.append(entries(30));
      const follower = follow(partition, offsets[19]!);
      await follower.reaches(offsets[29]!);
      expect(follower.entries.map(({ offset }) => offset)).toEqual(offsets.slice(20));
      expect(follower.states.length).toBeGreaterThan(0);
      expect(follower.following.silence).toBeGreaterThanOrEqual(0);
      follower.entries.length = 0;
      follower.following.goBack(offsets[4]!);
      await follower.reaches(offsets[29]!);
      expect(follower.entries.map(({ offset }) => offset)).toEqual(offsets.slice(5));
      const [next] = await partition.append(entries(1));
      await follower.reaches(next!);
      expect(follower.entries).toHaveLength(26);
      await follower.following.close();
      await partition.append(entries(1));
      expect(follower.entries).toHaveLength(26);
    });

    test('a follower misses nothing and sees nothing twice while its connections are cut', async context => {
      const { partition, open, network, follow } = await stage(context);
      const proxy = await network();
      const follower = follow(await open(proxy));
      let head = 0;
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 10; i++) head = (await partition.append(entries(5, round * 50 + i * 5)))[4]!;
        proxy.cut();
        await partition.append(entries(1, 1000 + round));
        await follower.reaches(head);
      }
      await follower.reaches((await partition.state()).head);
      expectAscending(follower.entries.map(({ offset }) => offset));
      expect(follower.entries.map(plain)).toEqual((await readAll(partition)).map(plain));
      expect(follower.entries).toHaveLength(255);
    });

    test('a follower whose connection is dead without a sign goes on over another', async context => {
      const { partition, open, network, follow } = await stage(context);
      const proxy = await network();
      const follower = follow(await open(proxy));
      await follower.reaches((await partition.append(entries(1)))[0]!);
      proxy.hold();
      await follower.reaches((await partition.append(entries(1, 1)))[0]!);
      expect(follower.entries.map(textOf)).toEqual(entries(2).map(textOf));
    });

    test.for([1, 3, 40])('%i entries whose answers are lost are appended once, in order', async (count, context) => {
      const { partition, open, network, follow } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      await client.append(entries(1));
      const follower = follow(partition);
      proxy.swallowAnswers = true;
      const appended = client.append(entries(count, 1));
      const second = client.append(entries(1, 1 + count));
      await until('the broker has the first', () => follower.entries.length > 1);
      proxy.swallowAnswers = false;
      proxy.cut();
      const offsets = [...(await appended), ...(await second)];
      await follower.reaches(offsets[count]!);
      expect(follower.entries.map(textOf)).toEqual(entries(count + 2).map(textOf));
      expect(follower.entries.slice(1).map(({ offset }) => offset)).toEqual(offsets);
    });

    test('appends over connections that are cut all the time are appended once, in order', async context => {
      const { partition, open, network } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      let settled = false;
      const appended = Promise.all(
        Array.from({ length: 40 }, (_, i) => client.append(entries((i % 4) * 7 + 1, i * 100))),
      ).finally(() => {
        settled = true;
      });
      for (let i = 0; i < 8 && !settled; i++) {
        await new Promise(resolve => setTimeout(resolve, 15 + i * 5));
        proxy.cut();
      }
      const offsets = (await appended).flat();
      const all = await readAll(partition);
      expect(all.map(({ offset }) => offset)).toEqual(offsets);
      expect(all.map(textOf)).toEqual(
        Array.from({ length: 40 }, (_, i) => entries((i % 4) * 7 + 1, i * 100).map(textOf)).flat(),
      );
    });

    test('what arrives late over a connection that was given up is not appended again', async context => {
      const { partition, open, network } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      await client.append(entries(1));
      proxy.hold();
      const offsets = [...(await client.append(entries(3, 1))), ...(await client.append(entries(1, 4)))];
      proxy.resume();
      offsets.push(...(await client.append(entries(1, 5))));
      // what was held has to come through before: nothing tells when
      await new Promise(resolve => setTimeout(resolve, 300));
      const all = await readAll(partition);
      expect(all.map(textOf)).toEqual(entries(6).map(textOf));
      expect(all.slice(1).map(({ offset }) => offset)).toEqual(offsets);
    });

    test('firstSince: the first entry with that time or a later one', async context => {
      const { partition } = await stage(context);
      const offsets = await partition.append(entries(200));
      const time = (i: number): number => startTime + i * 10;
      expect(await partition.firstSince(0)).toBe(offsets[0]);
      for (const i of [0, 1, 57, 198, 199]) {
        expect(await partition.firstSince(time(i))).toBe(offsets[i]);
        expect(await partition.firstSince(time(i) - 9)).toBe(offsets[i]);
      }
      expect(await partition.firstSince(time(199) + 1)).toBeUndefined();
      await partition.trim(offsets[99]!);
      const { floor } = await partition.state();
      const left = (await readAll(partition)).map(({ offset }) => offset);
      expect(await partition.firstSince(0)).toBe(left.find(offset => offset > floor));
      expect(await partition.firstSince(time(150))).toBe(offsets[150]);
    });

    test('trim raises the floor; a read from below begins there; offsets go on', async context => {
      const { partition, follow } = await stage(context);
      const offsets = await partition.append(entries(20));
      await partition.trim(offsets[9]!);
      const { floor } = await partition.state();
      expect(floor).toBeLessThanOrEqual(offsets[9]!);
      const read = await partition.read(0, offsets[19]!, 1_000_000);
      expect(read.after).toBe(floor);
      expect(read.entries.map(({ offset }) => offset)).toEqual(offsets.filter(offset => offset > floor));
      await partition.trim(offsets[19]!);
      const state = await partition.state();
      expect(state.head).toBe(offsets[19]);
      expect(state.floor).toBe(offsets[19]);
      expect(await partition.read(0, offsets[19]!, 1000)).toEqual({
        after: offsets[19],
        entries: [],
        next: offsets[19],
      });
      expect(await partition.firstSince(0)).toBeUndefined();
      const follower = follow(partition);
      const [next] = await partition.append(entries(1, 20));
      expect(next).toBeGreaterThan(offsets[19]!);
      await follower.reaches(next!);
      expect(follower.entries.map(textOf)).toEqual(entries(1, 20).map(textOf));
      await partition.trim(offsets[4]!);
      expect((await partition.state()).floor).toBe(offsets[19]);
    });

    test('one that was deleted and made anew has another id', async context => {
      const { name, partition, open, follow } = await stage(context);
      const follower = follow(partition);
      await follower.reaches((await partition.append(entries(5)))[4]!);
      const before = await partition.state();
      await subject.delete(name);
      const again = await open();
      const after = await again.state();
      expect(after.id).not.toBe(before.id);
      expect(after.head).toBe(0);
      await until('the follower is told', () => follower.states.some(({ id }) => id === after.id));
      expect((await partition.state()).id).toBe(after.id);
    });

    test('a probe fails while nothing passes, and no longer afterwards', async context => {
      const { open, network } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      await client.probe();
      proxy.stall();
      await expect(client.probe()).rejects.toThrow();
      proxy.cut();
      proxy.resume();
      await until('it is there again', () =>
        client.probe().then(
          () => true,
          () => false,
        ),
      );
    });

    test('it is closed in time although nothing passes; what waits is told that nobody knows', async context => {
      const { open, network, follow } = await stage(context);
      const proxy = await network();
      const client = await open(proxy);
      const follower = follow(client);
      await follower.reaches((await client.append(entries(1)))[0]!);
      proxy.stall();
      const append = client.append(entries(2, 1)).then(
        () => 'appended',
        (error: { code?: string }) => error.code,
      );
      const read = client.read(0, 1, 100).catch(() => {});
      const state = client.state().catch(() => {});
      // until it is on its way
      await new Promise(resolve => setTimeout(resolve, 50));
      await follower.following.close();
      await client.close();
      expect(await append).toBe('outcome_unknown');
      await Promise.all([read, state]);
      await expect(client.append(entries(1))).rejects.toThrow();
    });
  });
}

/** `count` of them, numbered from `first`. */
function entries(count: number, first = 0, size = 0): NewEntry[] {
  return Array.from({ length: count }, (_, i) => ({
    time: startTime + (first + i) * 10,
    bytes: Buffer.from(`entry ${first + i} `.padEnd(size, '.')),
  }));
}

function textOf({ bytes }: { readonly bytes: Buffer }): string {
  return bytes.toString();
}

function textAt(all: readonly Entry[], offset: number): string | undefined {
  const entry = all.find(one => one.offset === offset);
  return entry && textOf(entry);
}

function plain(entry: Entry): { offset: number; time: number; text: string } {
  return { offset: entry.offset, time: entry.time, text: textOf(entry) };
}

function expectAscending(offsets: readonly number[]): void {
  for (let i = 1; i < offsets.length; i++) expect(offsets[i]).toBeGreaterThan(offsets[i - 1]!);
}

async function readAll(partition: BrokerPartition): Promise<readonly Entry[]> {
  const { head } = await partition.state();
  const all: Entry[] = [];
  for (let after = 0; after < head; ) {
    const { entries: some, next } = await partition.read(after, head, 20_000);
    expect(next).toBeGreaterThan(after);
    all.push(...some);
    after = next;
  }
  return all;
}

class Follower {
  readonly entries: Entry[] = [];
  readonly states: PartitionState[] = [];
  readonly troubles: string[] = [];
  readonly following: Following;

  constructor(partition: BrokerPartition, after: number) {
    this.following = partition.follow(after, {
      onEntries: some => this.entries.push(...some.map(entry => ({ ...entry, bytes: Buffer.from(entry.bytes) }))),
      onState: state => this.states.push(state),
      onTrouble: reason => this.troubles.push(reason),
    });
  }

  reaches(offset: number): Promise<void> {
    return until(`the follower is at ${offset}`, () => (this.entries.at(-1)?.offset ?? 0) >= offset);
  }
}
