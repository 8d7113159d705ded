import { parseArgs } from 'node:util';
import type { Options } from './scenario.ts';

export const usage = `npm run bench -- [scenario …] [options]

  scenario         a name, or its part before the dash (sse = sse-1 sse-16 sse-256); none: all
                   but hundred-million, which runs once and only when it is named
  --repeats N      turns of each entry, A B A B … (5)
  --peers          measure nchan too (Debian: nginx-core libnginx-mod-nchan)
  --only A,B       measure only these entries, such as tailrace
  --json FILE      all samples as JSON; "-": to stdout, and the tables to stderr
  --quick          one repeat, windows of 1 s, 2,000 idle connections, 1,000,000 deliveries instead of 100,000,000,
                   5 MB beside stalled readers instead of 100, a log of 200 MB instead of 10 GB: does it run at all
  --profile DIR    tailrace runs with --cpu-prof and leaves its profiles there
  --data DIR       keeps the 10 GB that the log-… scenarios read there for the next run (else it makes them anew
                   under $TMPDIR, which must be on a disk)
  --list           names of the scenarios`;

export interface Arguments {
  /** What to do instead of measuring. */
  show: 'usage' | 'scenarios' | undefined;
  scenarios: string[];
  /** Entries to measure; undefined: all. */
  only: string[] | undefined;
  /** File for the JSON, "-" for stdout. */
  json: string | undefined;
  options: Options;
}

export function readArguments(args: string[]): Arguments {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      repeats: { type: 'string' },
      peers: { type: 'boolean', default: false },
      only: { type: 'string' },
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'string' },
      data: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { quick, peers, profile, data } = values;
  const repeats = Number(values.repeats ?? (quick ? 1 : 5));
  if (!Number.isInteger(repeats) || repeats < 1) throw new Error('--repeats wants a whole number from 1');
  return {
    show: values.help ? 'usage' : values.list ? 'scenarios' : undefined,
    scenarios: positionals,
    only: values.only?.split(','),
    json: values.json,
    options: {
      repeats,
      windowMs: quick ? 1_000 : 3_000,
      warmUpMs: quick ? 300 : 1_000,
      idleConnections: quick ? 2_000 : 15_000,
      manyDeliveries: quick ? 1_000_000 : 100_000_000,
      flowBytes: quick ? 5_000_000 : 100_000_000,
      historyTopics: quick ? 100_000 : 10_000_000,
      historyBytes: quick ? 200e6 : 10e9,
      data,
      peers,
      profile,
    },
  };
}
