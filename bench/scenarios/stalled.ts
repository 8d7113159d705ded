// What readers that stopped reading cost those that read: delivery times with and without 1,000 of them on one topic.
import { residentBytes, tcpBytes } from '../cpu.ts';
import type { Count } from '../load/fanout.ts';
import { Load } from '../load/load.ts';
import type { Entry, Options, Sample, Scenario } from '../scenario.ts';
import { KernelSetting } from '../sysctl.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';
import { sampleOf } from './fanout.ts';
import { settledMemory } from './memory.ts';

const fastReaders = 200;
const stalledReaders = 1_000;
const payloadLength = 10_000;
/** Leaves the server idle for a third of the time and more, and nobody has stalled for `stall.max`, 60 s, at the end. */
const messagesPerSecond = 300;
/** Connections to publish on: as many as may wait for an answer before it counts as an overrun. */
const connections = 64;
/** As docs/operations.md recommends: else the kernel keeps megabytes for each stalled socket. */
const notsentLowat = 65_536;
const fillMs = 3_000;
const megabyte = 1024 ** 2;
const figure = 'delivery p99 ms';

export function stalledScenarios(): Scenario[] {
  return [
    {
      name: 'stalled',
      about:
        `${fastReaders} SSE subscribers of one topic, 100 MB published at ${messagesPerSecond} messages/s of 10 KB, ` +
        'alone and beside 1,000 that never read',
      entries: [stalledEntry('alone', 0), stalledEntry('beside stalled', stalledReaders)],
      goals: [
        { figure, of: 'beside stalled', to: 'alone', atMost: 1.2 },
        { figure: 'delivery p50 ms', of: 'beside stalled', to: 'alone' },
      ],
    },
  ];
}

function stalledEntry(name: string, stalled: number): Entry {
  return { name, measure: options => measureStalled(stalled, options) };
}

async function measureStalled(stalled: number, { profile, warmUpMs, flowBytes }: Options): Promise<Sample> {
  using lowat = new KernelSetting('net.ipv4.tcp_notsent_lowat', notsentLowat);
  await using target = await startTailrace(profile);
  await using load = new Load();
  const messages = Math.round(flowBytes / payloadLength);
  const streams = { port: target.port, subscriptions: [target.sse([topic])] };
  const traffic = {
    target: target.publish,
    serverPids: target.pids(),
    inFlight: connections,
    payloadLength,
    rate: messagesPerSecond,
    warmUpMs: 0,
  };

  // the newest records that the server keeps in memory are there before memory is compared
  await load.call('backfill', { target: target.publish, count: messages, payloadLength });
  await load.call('open', { ...streams, count: fastReaders });
  await load.call('fanout', { ...traffic, windowMs: warmUpMs });
  const before = { server: await settledMemory(target), tcp: tcpBytes() };
  await load.call('stall', { ...streams, count: stalled });
  // until the kernel's buffers are full, stalled readers are readers: more of them than the server can serve
  const filling = await load.call('fanout', { ...traffic, windowMs: fillMs });

  const result = await load.call('fanout', { ...traffic, windowMs: (messages * 1000) / messagesPerSecond });
  const after = { server: residentBytes(target.pids()), tcp: tcpBytes() };
  const lagging = await laggingSessions(target);
  if (lagging !== stalled) throw new Error(`${lagging} of ${stalled} stalled readers are lagging at the end`);

  const { figures, ...sample } = sampleOf(result);
  return {
    ...sample,
    count: sumOf(filling.count, result.count),
    figures: {
      ...figures,
      'delivery p50 ms, buffers filling': filling.delivery.p50,
      'delivery p99 ms, buffers filling': filling.delivery.p99,
      'publishes refused, buffers filling': filling.refused,
      'MB published': (result.count.expected / fastReaders) * (payloadLength / 1e6),
      'server RSS growth MB': (after.server - before.server) / megabyte,
      'kernel TCP growth MB': (after.tcp - before.tcp) / megabyte,
      'tcp_notsent_lowat KB': lowat.value / 1024,
    },
  };
}

function sumOf(a: Count, b: Count): Count {
  return { expected: a.expected + b.expected, counted: a.counted + b.counted, wrong: a.wrong + b.wrong };
}

async function laggingSessions({ port }: Target): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^tailrace_lagging_sessions (\d+)$/m.exec(metrics)?.[1]);
}
