import { type FilterSet, filterSet, parsePartitionedCursor } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import type { Encoding, Hub, Session } from '../../../src/hub/index.ts';
import { type Log, openMemoryLog } from '../../../src/log/index.ts';
import { partitionOf } from '../../../src/log/woven/spread.ts';
import { WovenLog } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, SimulatedOutlet, SimulatedOwner, seeded, settle, simulatedHub } from '../../hub/simulation.ts';
import { message } from '../messages.ts';
import { LatePartition } from './late-partition.ts';

const partitions = 3;
const topics = Array.from({ length: 9 }, (_, i) => `t/${i}`);
const filterChoices = [['#'], ['t/+'], ['t/0'], ['t/1', 't/2'], ['t/3', 't/4', 't/5', 't/6'], ['none']];

type Line =
  | { readonly type: 'messages'; readonly cursor: string; readonly records: readonly (readonly [string, number])[] }
  | { readonly type: string; readonly cursor?: string };

const encoding: Encoding = {
  name: 'test',
  body: records => Buffer.from(JSON.stringify(records.map(({ topic, partitionOffset }) => [topic, partitionOffset]))),
  wrap: (body, _sub, after, cursor) =>
    Buffer.from(`{"type":"messages","after":"${after}","cursor":"${cursor}","records":${body.toString()}}\n`),
  notice: frame => Buffer.from(`${JSON.stringify(frame)}\n`),
};

/** One of several nodes on the same partitions, each of which comes to it late in its own way. */
class Node {
  readonly clock: SimulatedClock;
  readonly partitions: readonly LatePartition[];
  readonly log: WovenLog;
  readonly hub: Hub;
  readonly owner: SimulatedOwner;
  readonly mayForget: boolean;

  constructor(shared: readonly Log[], clock: SimulatedClock, seed: number, hotBytes: number, runs: number) {
    this.clock = clock;
    this.mayForget = runs < 100;
    this.partitions = shared.map(log => new LatePartition(log));
    this.log = new WovenLog(
      this.partitions.map(({ seen }) => seen),
      { hotBytes, runs },
    );
    this.owner = new SimulatedOwner(() => this.hub);
    // what is asked of a place that is forgotten ends the subscription, and its client comes back
    this.hub = simulatedHub(this.log, clock, seeded(seed), { onReadError: () => {} });
  }

  /** Everything that a cursor names has come to this node. */
  comeTo(cursor: string): void {
    for (const { partition, offset } of parsePartitionedCursor(cursor).entries)
      while (this.partitions[partition]!.seen.head.offset < offset) this.partitions[partition]!.come(1);
  }
}

/** A client that follows by cursor wherever it is connected. */
class Client {
  readonly filters: FilterSet;
  readonly got: (readonly [string, number])[] = [];
  cursor: string | undefined;
  beginning: string | undefined;
  session: Session | undefined;
  outlet = new SimulatedOutlet();
  node: Node | undefined;
  #taken = 0;

  constructor(filters: readonly string[]) {
    this.filters = filterSet(filters);
  }

  async connect(node: Node, from: string | undefined, room: number): Promise<void> {
    this.node = node;
    this.outlet = new SimulatedOutlet(room);
    this.#taken = 0;
    const session = node.hub.openSession('test', this.outlet, encoding, node.owner);
    this.session = session;
    const start = await node.hub.resolveStart(this.filters, { cursor: this.cursor, from });
    if (this.cursor !== undefined) expect(start).toMatchObject({ recovered: true, jump: undefined });
    node.hub.subscribe(session, 's', this.filters, start, cursor => {
      this.cursor = cursor;
      this.beginning ??= cursor;
    });
  }

  /** Takes what has come so far, or only some of it. */
  take(most = Number.POSITIVE_INFINITY): void {
    for (const bytes of this.outlet.bytes.slice(this.#taken, this.#taken + most)) {
      this.#taken++;
      const line = JSON.parse(bytes.toString()) as Line & { after?: string };
      if (line.type === 'error') {
        this.disconnect();
        return;
      }
      expect(['messages', 'cursor', 'live']).toContain(line.type);
      // as a client does that has missed something: it goes on from its own
      if (line.after !== undefined && line.after !== this.cursor) {
        expect(this.node!.mayForget, 'the chain is broken').toBe(true);
        this.disconnect();
        return;
      }
      if ('records' in line) this.got.push(...line.records);
      this.cursor = line.cursor ?? this.cursor;
    }
  }

  disconnect(): void {
    if (this.session !== undefined) this.node!.hub.closeSession(this.session);
    this.session = undefined;
  }
}

interface Published {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

async function history(seed: number): Promise<void> {
  const random = seeded(seed);
  const clock = new SimulatedClock();
  const shared = Array.from({ length: partitions }, () => openMemoryLog({ clock: clock.forLog, hotBytes: 10_000_000 }));
  const published: Published[] = [];
  const hotBytes = random.int(2) === 0 ? 1_000_000 : 3000;
  const runs = random.int(2) === 0 ? 8 : 10_000;
  const bytesMax = random.int(2) === 0 ? 200 : 20_000;
  const newNode = (): Node => new Node(shared, clock, seed, hotBytes, runs);
  const publish = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const topic = topics[random.int(topics.length)]!;
      const partition = partitionOf(topic, partitions);
      const batch = Array.from({ length: 1 + random.int(4) }, () => message(topic, 'x'.repeat(random.int(bytesMax))));
      for (const result of await shared[partition]!.append(batch, 'fsync'))
        published.push({ topic, partition, offset: (result as { offset: number }).offset });
      clock.ms += random.int(3);
    }
  };
  await publish(random.int(40));
  const nodes = [newNode(), newNode()];
  const clients: Client[] = [];
  const turn = async (): Promise<void> => {
    clock.turn();
    await settle(1);
  };
  const reconnect = async (client: Client): Promise<void> => {
    const node = nodes[random.int(nodes.length)]!;
    if (client.cursor !== undefined) node.comeTo(client.cursor);
    const from = client.cursor === undefined && random.int(2) === 0 ? 'earliest' : undefined;
    await client.connect(node, from, random.int(2) === 0 ? Number.POSITIVE_INFINITY : random.int(3 * bytesMax));
  };
  for (let step = 0; step < 250; step++) {
    const client = clients[random.int(Math.max(1, clients.length))];
    switch (random.int(9)) {
      case 0:
        await publish(1 + random.int(10));
        break;
      case 1:
      case 2:
        nodes[random.int(2)]!.partitions[random.int(partitions)]!.come(1 + random.int(6));
        break;
      case 3:
        if (clients.length < 12) {
          clients.push(new Client(filterChoices[random.int(filterChoices.length)]!));
          await reconnect(clients[clients.length - 1]!);
        }
        break;
      case 4:
        if (client?.session === undefined) break;
        // what came after the part that it took is lost with the connection
        client.take(random.int(4));
        client.disconnect();
        break;
      case 5:
        if (client !== undefined && client.session === undefined) await reconnect(client);
        break;
      case 6:
        client?.take();
        client?.outlet.drain(random.int(4 * bytesMax));
        break;
      case 7:
        if (random.int(4) > 0) break;
        for (const gone of clients) if (gone.node === nodes[0]) gone.disconnect();
        nodes[0] = newNode();
        break;
      case 8:
        clock.advance(500);
        break;
    }
    await turn();
  }
  for (const node of nodes) for (const partition of node.partitions) partition.come(Number.POSITIVE_INFINITY);
  for (let round = 0; ; round++) {
    for (const client of clients) {
      client.take();
      if (client.session === undefined) await reconnect(client);
      client.outlet.drain(Number.POSITIVE_INFINITY);
    }
    const busy = clock.turn();
    await settle(1);
    if (!busy && clients.every(({ session }) => session !== undefined && session.apart.length === 0)) break;
    if (round % 20 === 19) clock.advance(1000);
    if (round > 3000) throw new Error('a client never came to the head');
  }
  for (const [i, client] of clients.entries()) {
    client.take();
    const beginning = new Map(parsePartitionedCursor(client.beginning!).entries.map(e => [e.partition, e.offset]));
    for (const topic of topics) {
      const from = beginning.get(partitionOf(topic, partitions))!;
      const expected = client.filters.matches(topic)
        ? published.filter(one => one.topic === topic && one.offset > from)
        : [];
      const got = client.got.filter(([name]) => name === topic).map(([, offset]) => offset);
      // whose place was forgotten may be given some again, as by any reconnect
      expect(
        runs < 100 ? [...new Set(got.filter(offset => offset > from))] : got,
        `seed ${seed}, client ${i}, ${topic}`,
      ).toEqual(expected.map(({ offset }) => offset));
    }
  }
  for (const node of nodes) node.hub.close();
  for (const log of shared) await log.close();
}

const first = Number(process.env.SEED ?? 1);
const count = Number(process.env.HISTORIES ?? 100);

test(`clients that go from node to node get each record once, in the order of its topic (seeds ${first} to ${first + count - 1})`, {
  timeout: 60_000 + count * 500,
}, async () => {
  for (let seed = first; seed < first + count; seed++) await history(seed);
});
