import { filterSet } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import { cursorOf } from '../../../src/gateway/poll-cursor.ts';
import type { Hub } from '../../../src/hub/index.ts';
import { type Log, openMemoryLog } from '../../../src/log/index.ts';
import { partitionOf } from '../../../src/log/woven/spread.ts';
import { WovenLog } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, seeded, simulatedHub } from '../../hub/simulation.ts';
import { message } from '../messages.ts';
import { LatePartition } from './late-partition.ts';

const partitions = 3;
const topics = Array.from({ length: 9 }, (_, i) => `t/${i}`);
const filterChoices = [['#'], ['t/+'], ['t/0'], ['t/1', 't/2'], ['t/3', 't/4', 't/5', 't/6']];

/** One of several nodes on the same partitions. */
class Node {
  readonly partitions: readonly LatePartition[];
  readonly hub: Hub;

  constructor(shared: readonly Log[], clock: SimulatedClock, seed: number, hotBytes: number) {
    this.partitions = shared.map(log => new LatePartition(log));
    const log = new WovenLog(
      this.partitions.map(({ seen }) => seen),
      { hotBytes },
    );
    this.hub = simulatedHub(log, clock, seeded(seed));
  }

  /** All that any node knows has come to this one. */
  come(): void {
    for (const partition of this.partitions) partition.come(Number.POSITIVE_INFINITY);
  }
}

/** Whoever polls, wherever it is answered. */
class Poller {
  readonly filters: ReturnType<typeof filterSet>;
  readonly from: string;
  readonly got = new Map<string, number[]>();
  cursor: string | undefined;
  /** It was told that something is gone. */
  isTold = false;

  constructor(filters: readonly string[], from: string) {
    this.filters = filterSet(filters);
    this.from = from;
  }

  /** One request. Returns whether there is more. */
  async poll(hub: Hub, maxBytes: number): Promise<boolean> {
    const start = await hub.resolveStart(this.filters, { cursor: this.cursor, from: this.from });
    if (start.jump !== undefined) this.isTold = true;
    const reader = hub.follow(this.filters, start.jump?.to ?? start.at, start.snapshot, start.told);
    const { records, gap, reset, atHead } = await reader.read(maxBytes);
    if (gap !== undefined || reset !== undefined) this.isTold = true;
    for (const { topic, partitionOffset } of records) {
      const offsets = this.got.get(topic) ?? [];
      offsets.push(partitionOffset);
      this.got.set(topic, offsets);
    }
    this.cursor = cursorOf(hub.tokens, reader);
    return !atHead;
  }
}

async function history(seed: number): Promise<void> {
  const random = seeded(seed);
  const clock = new SimulatedClock();
  const shared = Array.from({ length: partitions }, () => openMemoryLog({ clock: clock.forLog, hotBytes: 10_000_000 }));
  const published = new Map<string, number[]>(topics.map(topic => [topic, []]));
  const hotBytes = random.int(2) === 0 ? 1_000_000 : 3000;
  const trims = random.int(2) === 0;
  const newNode = (): Node => new Node(shared, clock, seed, hotBytes);
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const topic = topics[random.int(topics.length)]!;
      const batch = Array.from({ length: 1 + random.int(4) }, () => message(topic, 'x'.repeat(random.int(300))));
      for (const result of await shared[partitionOf(topic, partitions)]!.append(batch, 'fsync'))
        published.get(topic)!.push((result as { offset: number }).offset);
      clock.ms += random.int(3);
    }
  };
  await publish(random.int(40));
  const nodes = [newNode(), newNode()];
  const pollers: Poller[] = [];
  for (let step = 0; step < 200; step++) {
    switch (random.int(6)) {
      case 0:
        await publish(1 + random.int(8));
        break;
      case 1:
        nodes[random.int(2)]!.partitions[random.int(partitions)]!.come(1 + random.int(6));
        break;
      case 2:
        if (pollers.length < 8)
          pollers.push(
            new Poller(filterChoices[random.int(filterChoices.length)]!, ['earliest', 'last'][random.int(2)]!),
          );
        break;
      case 3:
        if (random.int(4) === 0) nodes[0] = newNode();
        break;
      case 4:
        if (trims && random.int(6) === 0) {
          const log = shared[random.int(partitions)]!;
          await log.trim(log.floor + random.int(1 + (log.head.offset - log.floor)));
        }
        break;
      default: {
        const poller = pollers[random.int(Math.max(1, pollers.length))];
        const node = nodes[random.int(2)]!;
        if (poller === undefined) break;
        if (poller.cursor !== undefined) node.come();
        await poller.poll(node.hub, 1 + random.int(2000));
      }
    }
  }
  for (const node of nodes) node.come();
  for (const [i, poller] of pollers.entries()) {
    const { hub } = nodes[random.int(2)]!;
    for (let polls = 0; await poller.poll(hub, 1 + random.int(2000)); polls++)
      if (polls > 5000) throw new Error(`seed ${seed}, poller ${i} never came to the head`);
    for (const topic of topics) {
      const { floor } = shared[partitionOf(topic, partitions)]!;
      const got = poller.got.get(topic) ?? [];
      const all = poller.filters.matches(topic) ? published.get(topic)! : [];
      const label = `seed ${seed}, poller ${i} from ${poller.from}${poller.isTold ? ', told' : ''}, ${topic}`;
      expect(
        // where retention took the rest of a snapshot, all that is left is read instead
        (poller.isTold && poller.from === 'last') || got.every((offset, n) => n === 0 || offset > got[n - 1]!),
        `${label} in order: ${got}`,
      ).toBe(true);
      const missing = all.filter(offset => !got.includes(offset));
      if (poller.from === 'last') {
        // what came before the newest at the beginning need not come
        const first = got[0] ?? Number.POSITIVE_INFINITY;
        expect(
          missing.filter(offset => offset > Math.max(first, poller.isTold ? floor : 0)),
          label,
        ).toEqual([]);
        if (got.length === 0) expect(all.filter(offset => offset > floor)).toEqual([]);
      } else if (poller.isTold)
        expect(
          missing.filter(offset => offset > floor),
          label,
        ).toEqual([]);
      else expect(missing, label).toEqual([]);
    }
  }
  for (const { hub } of nodes) hub.close();
  for (const log of shared) await log.close();
}

const first = Number(process.env.SEED ?? 1);
const count = Number(process.env.HISTORIES ?? 100);

test(`polls of any node get each record once, in the order of its topic, or are told (seeds ${first} to ${first + count - 1})`, {
  timeout: 60_000 + count * 500,
}, async () => {
  for (let seed = first; seed < first + count; seed++) await history(seed);
});
