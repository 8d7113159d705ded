import type { monitorEventLoopDelay } from 'node:perf_hooks';
import { descriptorLimit, openDescriptors } from './descriptors.ts';
import type { Read } from './reading.ts';

export type LoopDelay = ReturnType<typeof monitorEventLoopDelay>;

const startedAt = Date.now() / 1000 - process.uptime();

/** The process itself, under the names every exporter uses, and the delay of its event loop. */
export function processReadings(loop: LoopDelay): Read[] {
  const gauge = (name: string, help: string, read: Read['read'], label?: string): Read => ({
    name,
    help,
    type: 'gauge',
    read,
    ...(label === undefined ? {} : { label }),
  });
  return [
    {
      name: 'process_cpu_seconds_total',
      help: 'User and system CPU time.',
      type: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    gauge('process_start_time_seconds', 'Start of the process, seconds since 1970 UTC.', () => startedAt),
    gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss()),
    // both are missing where the system does not tell
    ...(openDescriptors() === undefined
      ? []
      : [
          gauge('process_open_fds', 'Open file descriptors.', () => openDescriptors() ?? 0),
          gauge(
            'process_max_fds',
            'Limit on open file descriptors.',
            () => descriptorLimit() ?? Number.POSITIVE_INFINITY,
          ),
        ]),
    gauge(
      'nodejs_active_resources',
      'What keeps the event loop alive, by type: sockets, listeners, requests to the file system.',
      () => countByName(process.getActiveResourcesInfo()),
      'type',
    ),
    gauge(
      'nodejs_memory_bytes',
      'Memory of the JavaScript engine by kind.',
      () => {
        const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
        return Object.entries({ heap_used: heapUsed, heap_total: heapTotal, external, array_buffers: arrayBuffers });
      },
      'kind',
    ),
    gauge(
      'nodejs_eventloop_delay_seconds',
      'Delay of the event loop since the last time this was asked for, sampled every 20 ms.',
      () => {
        const percentiles: [string, number][] = [0.5, 0.9, 0.99].map(q => [String(q), loop.percentile(q * 100) / 1e9]);
        percentiles.push(['1', loop.max / 1e9]);
        loop.reset();
        return percentiles;
      },
      'quantile',
    ),
  ];
}

function countByName(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
