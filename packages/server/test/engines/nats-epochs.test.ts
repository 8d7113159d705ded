import { jetstreamManager } from '@nats-io/jetstream';
import { afterEach, expect, test } from 'vitest';
import type { Entry, PartitionState } from '../../src/engines/broker-partition.ts';
import { JetStreamPartition } from '../../src/engines/nats/jetstream-partition.ts';
import { until } from '../log/messages.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

const cleanup: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function startServer(): Promise<NatsServer> {
  const server = await NatsServer.start();
  cleanup.push(() => server.stop('SIGKILL'));
  return server;
}

class Node {
  readonly partition: JetStreamPartition;
  readonly entries: string[] = [];
  readonly states: PartitionState[] = [];

  constructor(url: string, replicas = 1) {
    this.partition = new JetStreamPartition({ url, replicas });
    cleanup.push(() => this.partition.close());
  }

  static async open(url: string, replicas?: number): Promise<Node> {
    const node = new Node(url, replicas);
    await node.partition.open();
    node.follow();
    return node;
  }

  get state(): PartitionState {
    return this.states.at(-1)!;
  }

  /** As a log does: it goes back to where its epoch ends. */
  follow(): void {
    const following = this.partition.follow(0, {
      onEntries: some => {
        for (const { offset, bytes } of some) {
          expect(offset).toBe(this.entries.length + 1);
          this.entries.push(bytes.toString());
        }
      },
      onState: state => {
        const before = this.state;
        this.states.push(state);
        const next = before && state.epochs.find(({ epoch }) => epoch > before.epochs.at(-1)!.epoch);
        if (next === undefined || next.first > this.entries.length) return;
        this.entries.length = next.first - 1;
        following.goBack(next.first - 1);
      },
      onTrouble: () => {},
    });
    cleanup.push(() => following.close());
  }

  append(...texts: string[]): Promise<readonly number[]> {
    return this.partition.append(texts.map(text => ({ time: 1, bytes: Buffer.from(text) })));
  }
}

function agree(...nodes: readonly Node[]): Promise<void> {
  return until('all nodes are told the same', () => {
    const [one, ...others] = nodes.map(({ state }) => JSON.stringify(state?.epochs));
    return one !== undefined && others.every(other => other === one);
  });
}

function textsOf(entries: readonly Entry[]): string[] {
  return entries.map(({ bytes }) => bytes.toString());
}

withNats('epochs of a stream of JetStream', () => {
  test('a restart begins an epoch behind the head, to which all nodes agree, and loses nothing', async () => {
    const server = await startServer();
    const nodes = await Promise.all(Array.from({ length: 5 }, () => Node.open(server.url)));
    await agree(...nodes);
    expect(nodes[0]!.state.epochs).toHaveLength(1);
    expect(nodes[0]!.state.epochs[0]!.first).toBe(1);
    await nodes[0]!.append('1', '2', '3');
    await until('the others have them', () => nodes.every(({ entries }) => entries.length === 3));
    await server.stop('SIGKILL');
    await server.start();
    const offsets = (await Promise.all(nodes.map((node, i) => node.append(`of ${i}`)))).flat();
    expect(offsets.toSorted((a, b) => a - b)).toEqual([4, 5, 6, 7, 8]);
    await until('all have them', () => nodes.every(({ entries }) => entries.length === 8));
    await agree(...nodes);
    const { epochs, id } = nodes[0]!.state;
    expect(epochs.map(({ first }) => first)).toEqual([1, 4]);
    expect(epochs[1]!.epoch).toBeGreaterThan(epochs[0]!.epoch);
    for (const node of nodes) {
      expect(node.entries).toEqual(nodes[0]!.entries);
      expect(node.state.id).toBe(id);
    }
  });

  test('entries that a power loss took are of another epoch than those that come in their place', async () => {
    const server = await startServer();
    const knows = await Node.open(server.url);
    await knows.append('1', '2', '3');
    await server.stop();
    const putBack = server.keep();
    await server.start();
    // a node that did not see what is lost, and could append in its place without a thought
    const proxy = await FaultyProxy.start(server.port);
    cleanup.push(() => proxy.close());
    const late = await Node.open(`nats://127.0.0.1:${proxy.port}`);
    await until('it stands at the head', () => late.entries.length === 3);
    proxy.stall();
    await knows.append('lost 4', 'lost 5', 'lost 6');
    await until('they are read', () => knows.entries.length === 6);
    await server.stop('SIGKILL');
    putBack();
    await server.start();
    proxy.cut();
    proxy.resume();
    expect(await late.append('4', '5', '6', '7')).toEqual([4, 5, 6, 7]);
    expect(await knows.append('8')).toEqual([8]);
    const expected = ['1', '2', '3', '4', '5', '6', '7', '8'];
    await until('both have all', () => [knows, late].every(({ entries }) => entries.length === 8));
    for (const node of [knows, late]) expect(node.entries).toEqual(expected);
    await agree(knows, late);
    // whoever stood in the lost part stands behind the end of that epoch
    const { epochs } = knows.state;
    const [before, now] = [epochs.at(-2)!, epochs.at(-1)!];
    expect(now.first).toBe(4);
    expect(before.first).toBeLessThanOrEqual(4);
    expect(now.epoch).toBeGreaterThan(before.epoch);
  });

  test('an append that was under way when its predecessors were lost is appended once, in the new epoch', async () => {
    const server = await startServer();
    const node = await Node.open(server.url);
    await node.append('1', '2');
    await server.stop();
    const putBack = server.keep();
    await server.start();
    await node.append('lost 3', 'lost 4');
    const proxy = await FaultyProxy.start(server.port);
    cleanup.push(() => proxy.close());
    const writer = await Node.open(`nats://127.0.0.1:${proxy.port}`);
    await writer.append('lost 5');
    proxy.swallowAnswers = true;
    const appended = writer.append('6');
    await until('the server has it', () => node.entries.length === 6);
    await server.stop('SIGKILL');
    putBack();
    proxy.swallowAnswers = false;
    await server.start();
    expect(await appended).toEqual([3]);
    await until('all have it', () => [node, writer].every(({ entries }) => entries.join() === '1,2,6'));
    await agree(node, writer);
    expect(node.state.epochs.at(-1)!.first).toBe(3);
  });

  test('a stream that goes on otherwise without a sign is noticed by what this node has read of it', async () => {
    const [one, other] = [await startServer(), await startServer()];
    const proxy = await FaultyProxy.start(one.port);
    cleanup.push(() => proxy.close());
    const node = await Node.open(`nats://127.0.0.1:${proxy.port}`);
    for (const text of ['1', '2', '3']) await node.append(text);
    await until('they are read', () => node.entries.length === 3);
    const { id, epochs } = node.state;
    // the other has three entries too, under the same id, in the same epoch, of what it says is the same run
    const client = await other.client();
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    await streams.add({
      name: 'tailrace-0',
      subjects: ['tailrace.0.*'],
      metadata: { tailrace_id: id },
      allow_direct: true,
      allow_atomic: true,
    });
    await streams.add({ name: 'tailrace-epochs', subjects: ['tailrace.epochs.*'], max_msgs_per_subject: 1 });
    await client.request('tailrace.epochs.0', JSON.stringify({ id, run: client.info!.server_id, epochs }));
    for (let i = 0; i < 4; i++) await client.request('tailrace.0.x', `12345678other ${i}`);
    proxy.target = other.port;
    proxy.cut();
    await until('it has read all anew', () => node.entries.length === 4 && node.entries[3] === 'other 3');
    expect(node.entries).toEqual(['other 0', 'other 1', 'other 2', 'other 3']);
    expect(node.state.epochs.map(({ first }) => first)).toEqual([1, 1]);
  });

  test('the epochs themselves may be lost: then all that was is of an epoch that nobody knows', async () => {
    const server = await startServer();
    const node = await Node.open(server.url);
    await node.append('1', '2');
    const [before] = node.state.epochs;
    const client = await server.client();
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    await streams.delete('tailrace-epochs');
    const { epochs } = await node.partition.state();
    expect(epochs).toEqual([{ epoch: expect.any(Number), first: 3 }]);
    expect(epochs[0]!.epoch).toBeGreaterThanOrEqual(before!.epoch);
    expect(await node.append('3')).toEqual([3]);
  });

  test('a stream that is deleted and made anew while nodes append has another id, and takes what they append', async () => {
    const server = await startServer();
    const nodes = [new Node(server.url), new Node(server.url)];
    for (const { partition } of nodes) await partition.open();
    await nodes[0]!.append('1', '2');
    await nodes[1]!.append('3');
    const { id } = await nodes[0]!.partition.state();
    const client = await server.client();
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    await streams.delete('tailrace-0');
    const offsets = (await Promise.all(nodes.map((node, i) => node.append(`after ${i}`)))).flat();
    expect(offsets.toSorted()).toEqual([1, 2]);
    const states = await Promise.all(nodes.map(({ partition }) => partition.state()));
    expect(states[0]).toEqual(states[1]);
    expect(states[0]!.id).not.toBe(id);
    expect(textsOf((await nodes[0]!.partition.read(0, 2, 1000)).entries).toSorted()).toEqual(['after 0', 'after 1']);
  });

  test('three servers are one: who leads may be killed, and what was acked is there', async () => {
    const servers = await NatsServer.cluster(3);
    cleanup.push(() => Promise.all(servers.map(server => server.stop('SIGKILL'))));
    const url = `nats://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
    let node: Node | undefined;
    await until('the cluster takes streams', async () => {
      node = new Node(url, 3);
      return node.partition.open().then(
        () => true,
        () => false,
      );
    });
    node!.follow();
    const nodes = [node!, await Node.open(url, 3)];
    expect(nodes[0]!.partition.durabilities).toContain('fsync');
    const textsOf = (i: number): string[] => Array.from({ length: (i % 3) + 1 }, (_, k) => `${i}.${k}`);
    const append = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) await Promise.all(nodes.map(one => one.append(...textsOf(i))));
    };
    await append(0, 20);
    const client = await servers[0]!.client();
    cleanup.push(() => client.close());
    const { cluster } = await (await jetstreamManager(client)).streams.info('tailrace-0');
    await servers[Number(cluster!.leader!.slice(1))]!.stop('SIGKILL');
    await append(20, 40);
    const expected = Array.from({ length: 40 }, (_, i) => textsOf(i)).flat();
    await until('all is read', () => nodes.every(({ entries }) => entries.length === expected.length * 2));
    expect(nodes[0]!.entries).toEqual(nodes[1]!.entries);
    expect(nodes[0]!.entries.toSorted()).toEqual([...expected, ...expected].toSorted());
    // nothing was lost, and nobody says so
    for (const { state } of nodes) expect(state.epochs).toHaveLength(1);
  });
});
