// A log of ten million topics and ten gigabytes: how long it takes to start, and what it costs to read what lies deep in it.
import { history } from '../history.ts';
import type { CatchUpJob, CatchUpResult } from '../log/catch-up.ts';
import { followedRecords } from '../log/history.ts';
import { LogProcess } from '../log/log-process.ts';
import { deviceFilter, followedTopic } from '../log/topics.ts';
import type { Entry, Options, Scenario } from '../scenario.ts';
import { dropPageCache } from '../sysctl.ts';

const megabyte = 1e6;
const mebibyte = 1024 ** 2;
/** About half a segment: what was not sealed when the process was killed. */
const tailRecords = 30_000;
const manyReaders = 1_000;
const companions = 100;
/** All ten gigabytes, at a sixth of the goal. */
const scanWithin = 200_000;
const appendsPerSecond = 1_000;
/** By then a log that was opened has filled its next segments with zeros. */
const fillingMs = 3_000;

export function logHistoryScenarios(): Scenario[] {
  return [startScenario(), resumeScenario(), wildcardScenario(), besideScenario()];
}

function startScenario(): Scenario {
  const figure = 's until open';
  const heap = 'MiB of heap and buffers';
  const entries = [startEntry('after a stop', false), startEntry('after SIGKILL', true)];
  return {
    name: 'log-start',
    about: 'opening a log of 10 million topics and 10 GB, every hundredth record with an id',
    entries,
    goals: entries.flatMap(({ name }) => [
      { figure, of: name, atMost: 3 },
      { figure: heap, of: name, atMost: 64 },
    ]),
  };

  function startEntry(name: string, killed: boolean): Entry {
    return {
      name,
      measure: async ({ profile, ...options }) => {
        using copy = (await history({ profile, ...options })).copy();
        if (killed) {
          const before = new LogProcess();
          await before.call('leaveTail', { directory: copy.path, records: tailRecords });
          await before.kill();
        }
        await using log = new LogProcess(profile);
        const { milliseconds, firstAckMilliseconds, heapBytes, cpu } = await log.call('start', {
          directory: copy.path,
        });
        return {
          figures: {
            [figure]: milliseconds / 1000,
            's until the first ack': firstAckMilliseconds / 1000,
            [heap]: heapBytes / mebibyte,
          },
          cpu,
        };
      },
    };
  }
}

function resumeScenario(): Scenario {
  const figure = 'ms, warm';
  const read = 'bytes of segments read per byte of records';
  return {
    name: 'log-resume-exact',
    about: `one reader of one topic, ${followedRecords.toLocaleString('en-US')} records spread over 10 GB`,
    entries: [
      {
        name: 'tailrace',
        measure: async options => {
          using copy = (await history(options)).copy();
          await using log = new LogProcess(options.profile);
          const result = await log.call('resumeExact', {
            directory: copy.path,
            topic: followedTopic,
            records: followedRecords,
            windowMs: options.windowMs,
          });
          return {
            figures: {
              [figure]: result.milliseconds,
              'ms, first': result.firstMilliseconds,
              [read]: result.logBytesPerByte,
              'bytes of indexes read per byte of records': result.indexBytesPerByte,
            },
            cpu: result.cpu,
          };
        },
      },
    ],
    goals: [
      { figure, of: 'tailrace', atMost: 50 },
      { figure: read, of: 'tailrace', atMost: 2 },
    ],
  };
}

function wildcardScenario(): Scenario {
  const figure = 'MB/s of log scanned';
  const entries = [scanEntry('1 reader', 1), scanEntry(`${companions} readers`, companions)];
  return {
    name: 'log-wildcard',
    about: 'catch-up over 10 GB by a filter with a wildcard that matches 1 record in 100, alone and in company',
    entries,
    goals: entries.map(({ name }) => ({ figure, of: name, atLeast: 300 })),
  };

  function scanEntry(name: string, readers: number): Entry {
    return {
      name,
      measure: async options => {
        const job = { readers, filters: [deviceFilter(7)], spread: 0.01, appendsPerSecond: 0 };
        const result = await measureCatchUp(options, { ...job, warmUpMs: 0, windowMs: scanWithin });
        return {
          figures: {
            [figure]: result.scannedPerSecond / megabyte,
            'MB read for each MB scanned': result.readPerScanned,
            'deliveries/s': result.deliveriesPerSecond,
          },
          cpu: result.cpu,
        };
      },
    };
  }
}

function besideScenario(): Scenario {
  const figure = 'commit p99 ms';
  return {
    name: 'log-beside-catchup',
    about: `${appendsPerSecond.toLocaleString('en-US')} durable appends/s, alone and beside 1,000 readers spread over 10 GB, cold`,
    entries: [besideEntry('alone', 0), besideEntry('beside readers', manyReaders)],
    goals: [{ figure, of: 'beside readers', to: 'alone', atMost: 5 }],
  };

  function besideEntry(name: string, readers: number): Entry {
    return {
      name,
      measure: async options => {
        const filters = Array.from({ length: companions }, (_, number) => deviceFilter(number));
        const { windowMs } = options;
        const job = { readers, filters, spread: 0.9, appendsPerSecond, warmUpMs: fillingMs, windowMs };
        const result = await measureCatchUp(options, job);
        return {
          figures: {
            'commit p50 ms': result.ack.p50,
            [figure]: result.ack.p99,
            'event loop late p99 ms': result.delay.p99,
            'event loop late max ms': result.delay.max,
            'deliveries/s': result.deliveriesPerSecond,
          },
          cpu: result.cpu,
        };
      },
    };
  }
}

async function measureCatchUp(options: Options, job: Omit<CatchUpJob, 'directory'>): Promise<CatchUpResult> {
  using copy = (await history(options)).copy();
  dropPageCache();
  await using log = new LogProcess(options.profile);
  return await log.call('catchUp', { ...job, directory: copy.path }, job.windowMs + scanWithin);
}
