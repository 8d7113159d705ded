import { type LogStats, stats, type TopicStats } from '../log/index.ts';
import { workBesideServer } from './beside-server.ts';
import type { Command, Input } from './command.ts';
import { dataDirectory, directoryHelp, jsonOption, onDirectory, printFound } from './log-command.ts';

export const logStats: Command = {
  name: 'log stats',
  ...onDirectory,
  summary: 'Say what a data directory holds: segments, topics, epochs, times.',
  details: [`Reads every byte and changes nothing, beside a running server as well. ${directoryHelp}`],
  options: {
    top: { type: 'text', value: 'number', help: 'How many of the largest topics to name; 10 by default.' },
    ...jsonOption('everything'),
  },
  examples: [
    { command: 'tailrace log stats', does: 'the log in ./data' },
    { command: 'tailrace log stats /var/lib/tailrace --top 100 --json', does: 'for a script' },
  ],
  exitCodes: { 1: 'the directory cannot be read' },
  run,
};

async function run(input: Input): Promise<number> {
  workBesideServer();
  const found = await stats(await dataDirectory(input), { top: input.count('top', 0) });
  printFound(input, found, linesOf(found).join('\n'));
  return 0;
}

function linesOf({
  id,
  segments,
  bytes,
  records,
  first,
  last,
  oldest,
  newest,
  epochs,
  topics,
  dedupe,
  notes,
}: LogStats) {
  const { checkpoint, recordsBehind } = dedupe;
  const known =
    checkpoint === undefined
      ? 'no checkpoint'
      : `${checkpoint.ids} ids and ${checkpoint.producers} producers up to offset ${checkpoint.offset} (${checkpoint.bytes} bytes)`;
  const latest = epochs.at(-1);
  return [
    `log ${id ?? 'unknown'}: ${segments} segments, ${bytes} bytes, ${records} records, offsets ${first} to ${last}`,
    ...(records === 0 ? [] : [`times ${new Date(oldest).toISOString()} to ${new Date(newest).toISOString()}`]),
    `epochs ${epochs.length}${latest === undefined ? '' : `, newest ${latest.epoch} from offset ${latest.first} on`}`,
    `de-duplication ${known}, ${recordsBehind} records with an id or a producer behind it`,
    `topics ${topics.exact ? '' : 'at most '}${topics.count}`,
    ...largest('by bytes', topics.largestByBytes),
    ...largest('by records', topics.largestByRecords),
    ...notes.map(note => `note: ${note}`),
  ];
}

function largest(by: string, topics: readonly TopicStats[]): string[] {
  if (topics.length === 0) return [];
  const rows = topics.map(({ topic, records, bytes }) => [String(bytes), String(records), topic] as const);
  const widths = [0, 1].map(column => Math.max(...rows.map(row => row[column]!.length)));
  return [
    `largest ${by}`,
    ...rows.map(
      ([bytes, records, topic]) =>
        `  ${bytes.padStart(widths[0]!)} bytes  ${records.padStart(widths[1]!)} records  ${topic}`,
    ),
  ];
}
