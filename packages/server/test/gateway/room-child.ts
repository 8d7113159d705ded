// A server in a process of its own, so that its memory is only its own: run by RoomProcess, driven by messages.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { queryObjects } from 'node:v8';
import { openDiskLog } from '../../src/log/index.ts';
import { openDescriptors } from '../../src/observe/descriptors.ts';
import { Rooms } from './harness.ts';
import type { RoomState, RoomTask } from './room-process.ts';

const directory = mkdtempSync(join(tmpdir(), 'tailrace-room-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
const log = await openDiskLog({ directory, hotBytes: 8 * 1024 * 1024 });
const rooms = await Rooms.open({ log, hub: { publishDeadline: 30_000 }, headerTimeout: 60_000 });

/** Publishes `count` messages of `bytes` to `topics` topics in turn, as fast as the brake lets it. */
async function publish({ count, bytes, topics }: Extract<RoomTask, { type: 'publish' }>): Promise<void> {
  const data = JSON.stringify('x'.repeat(bytes - 2));
  for (let sent = 0; sent < count; ) {
    const batch = [];
    for (let i = 0; i < 16 && sent < count; i++) {
      const topic = `t/${sent++ % topics}`;
      batch.push(
        (async () => {
          for (;;) {
            try {
              return await rooms.publish(topic, data, { durability: 'written' });
            } catch (error) {
              if ((error as { code?: string }).code !== 'overloaded') throw error;
              overloaded++;
              await new Promise(resolve => setTimeout(resolve, 20));
            }
          }
        })(),
      );
      // one after the other into the log, so that their order is that of the loop
    }
    await Promise.all(batch);
    const { rss } = process.memoryUsage();
    if (rss > peak) peak = rss;
  }
}

// timers that are not to keep the process alive are in no list of Node's, but they are on the heap
const { constructor: Timer } = setTimeout(() => {}, 0);

let peak = 0;
let overloaded = 0;

async function state(): Promise<RoomState> {
  for (let i = 0; i < 5; i++) {
    gc!();
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const { clock, hub, gateway, door } = rooms;
  const resources: Record<string, number> = {};
  // a read of the kernel's figures that happens to be under way is no leak
  for (const name of process.getActiveResourcesInfo().filter(name => name !== 'FSReqCallback'))
    resources[name] = (resources[name] ?? 0) + 1;
  return {
    memory: { rss, heapUsed, external, arrayBuffers, peak },
    overloaded,
    resources,
    descriptors: openDescriptors(),
    timers: queryObjects(Timer as new () => unknown, { format: 'count' }),
    sizes: {
      sessions: hub.sessions.size,
      cohorts: hub.cohorts.size,
      filters: hub.index.filterCount,
      connections: gateway.connections.size,
      wheel: gateway.wheel.size,
      clockTimers: clock.timers,
      headDeadlines: door.deadlineCount,
      publishDeadlines: hub.publisher.deadlineCount,
      sockets: door.sockets.size,
      inFlight: door.inFlight,
      lagging: hub.catchUp.lagging.size,
      pinnedBytes: hub.catchUp.pinnedBytes,
      jobs: hub.slices.waiting,
      held: hub.brake.heldCount,
      publishing: hub.publisher.inFlight,
    },
    head: hub.log.head.offset,
    hotBase: hub.log.hot.base,
    faults: rooms.faults.map(String),
    cut: Object.fromEntries(gateway.cut),
  };
}

process.on('message', (task: RoomTask) => {
  void (async () => {
    try {
      let answer: unknown;
      if (task.type === 'publish') await publish(task);
      else if (task.type === 'state') answer = await state();
      else {
        await rooms.close();
        process.disconnect!();
        return;
      }
      process.send!({ answer });
    } catch (error) {
      process.send!({ error: String((error as Error).stack) });
    }
  })();
});

process.once('disconnect', () => process.exit());
process.send!({ port: rooms.port });
