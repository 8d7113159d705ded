// What an idle connection costs: resident memory of the server's processes, after garbage collection. The kernel's
// share (socket structures and buffers) is not in it.
import { residentBytes } from '../cpu.ts';
import { Load } from '../load/load.ts';
import type { Entry, Options, Scenario } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { startNchan } from '../targets/nchan.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';
import { sleep } from '../wait.ts';
import { baselineOf, type Transport } from './fanout.ts';

const kilobyte = 1024;
/** Connections that come and go before the first look, so that code and pools are there already. */
const warmUpConnections = 500;
/** Slow enough for 15,000 writes a message. */
const messagesPerSecond = 4;
const trafficMs = 4_000;
const settleMs = 300;

export function memoryScenarios(): Scenario[] {
  return [memoryScenario('sse', 4.5), memoryScenario('ws', 5)];
}

function memoryScenario(transport: Transport, atMost: number): Scenario {
  const baseline = baselineOf(transport);
  return {
    name: `memory-${transport}`,
    about: `resident memory for each of 15,000 idle ${transport.toUpperCase()} connections, after gc`,
    entries: [
      memoryEntry('tailrace', transport, ({ profile }) => startTailrace(profile)),
      memoryEntry(baseline, transport, () => startBaseline(baseline)),
      memoryEntry('nchan', transport, startNchan),
    ],
    goals: [{ figure: 'KB/connection after traffic', of: 'tailrace', atMost }],
  };
}

function memoryEntry(name: string, transport: Transport, start: (options: Options) => Promise<Target>): Entry {
  return {
    name,
    measure: async options => {
      await using target = await start(options);
      await using load = new Load();
      const { port } = target;
      const subscriptions = [target[transport]([topic])];
      const traffic = { target: target.publish, serverPids: target.pids(), inFlight: 16, rate: messagesPerSecond };

      await load.call('open', { port, subscriptions, count: warmUpConnections });
      await load.call('fanout', { ...traffic, warmUpMs: 0, windowMs: 1_000 });
      await load.call('close', null);
      const before = await settledMemory(target);

      await load.call('open', { port, subscriptions, count: options.idleConnections });
      const idle = await settledMemory(target);
      const { count, lost, refused } = await load.call('fanout', { ...traffic, warmUpMs: 0, windowMs: trafficMs });
      const after = await settledMemory(target);

      const each = (bytes: number): number => (bytes - before) / options.idleConnections / kilobyte;
      return {
        figures: {
          'KB/connection after connecting': each(idle),
          'KB/connection after traffic': each(after),
          'MB before': before / kilobyte ** 2,
        },
        count,
        lost,
        refused,
      };
    },
  };
}

/** Twice, with a pause: what a first collection frees is given back to the kernel a little later. */
export async function settledMemory(target: Target): Promise<number> {
  await sleep(settleMs);
  await target.collectGarbage();
  await sleep(settleMs);
  await target.collectGarbage();
  return residentBytes(target.pids());
}
