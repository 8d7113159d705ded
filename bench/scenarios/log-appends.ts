// Durable appends in one process, against what one would take from npm instead; and whether they cost the same whatever
// the log holds already.
import { history } from '../history.ts';
import type { AppendsJob, AppendsResult } from '../log/appends.ts';
import { LogProcess } from '../log/log-process.ts';
import type { StoreName } from '../log/stores/store.ts';
import type { Entry, Goal, Options, Sample, Scenario } from '../scenario.ts';
import { TemporaryDirectory } from '../temporary.ts';

const figure = 'appends/s';
const million = 1_000_000;
/** Where the disk's time hardly counts any more. */
const manyWriters = 1_024;

export function logAppendScenarios(): Scenario[] {
  return [appendScenario(64), appendScenario(manyWriters), flatScenario()];
}

function appendScenario(writers: number): Scenario {
  return {
    name: `log-append-${writers}`,
    about: `durable appends of 130 bytes, ${writers.toLocaleString('en-US')} writers in one process, each waits for its ack`,
    entries: [storeEntry('tailrace', writers), storeEntry('lmdb', writers), storeEntry('better-sqlite3', writers)],
    goals: [
      { figure, of: 'tailrace', to: 'lmdb', atLeast: 1.2 },
      { figure, of: 'tailrace', to: 'better-sqlite3', atLeast: 1.2 },
    ],
  };
}

function storeEntry(store: StoreName, writers: number): Entry {
  return {
    name: store,
    measure: async options => {
      using home = new TemporaryDirectory();
      return await measureAppends(options, { store, directory: home.path, writers, topics: writers });
    },
  };
}

function flatScenario(): Scenario {
  const base = flatEntry('1 topic on 1 MB', 1, 0);
  const others = [
    flatEntry('1k topics on 1 MB', 1_000, 0),
    flatEntry('1M topics on 1 MB', million, 0),
    flatEntry('1 topic on 1 GB', 1, 1e9),
    flatEntry('1 topic on 10 GB', 1, Number.POSITIVE_INFINITY),
    flatEntry('1M topics on 10 GB', million, Number.POSITIVE_INFINITY),
  ];
  return {
    name: 'log-flat',
    about: `durable appends, ${manyWriters.toLocaleString('en-US')} writers, onto 1 MB, 1 GB and 10 GB, to 1, 1,000 and 1,000,000 topics`,
    entries: [base, ...others],
    goals: others.map(({ name }): Goal => ({ figure, of: name, to: base.name, atLeast: 0.85 })),
  };
}

/** The megabyte is what the warm-up appends. */
function flatEntry(name: string, topics: number, bytes: number): Entry {
  return {
    name,
    measure: async options => {
      using home = bytes === 0 ? new TemporaryDirectory() : (await history(options)).copy(bytes);
      const job = { store: 'tailrace', directory: home.path, writers: manyWriters, topics } as const;
      return await measureAppends(options, job);
    },
  };
}

async function measureAppends(
  { profile, warmUpMs, windowMs }: Options,
  job: Omit<AppendsJob, 'warmUpMs' | 'windowMs'>,
): Promise<Sample> {
  await using log = new LogProcess(profile);
  return sampleOf(await log.call('appends', { ...job, warmUpMs, windowMs }));
}

function sampleOf({ appendsPerSecond, ack, delay, cpu }: AppendsResult): Sample {
  return {
    figures: {
      [figure]: appendsPerSecond,
      'µs of CPU/append': (cpu.server * million) / appendsPerSecond,
      'ack p50 ms': ack.p50,
      'ack p99 ms': ack.p99,
      'event loop late p99 ms': delay.p99,
      'event loop late max ms': delay.max,
    },
    cpu,
  };
}
