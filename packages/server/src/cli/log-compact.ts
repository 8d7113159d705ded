import { formatSize } from '../config/index.ts';
import { keepOptions } from '../keep-options.ts';
import { type CompactReport, compact, DirectoryInUse, type LogReport } from '../log/index.ts';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { dataDirectory, jsonOption, onDirectory, printFound } from './log-command.ts';
import { readSettings, settingOptions } from './settings.ts';

export const logCompact: Command = {
  name: 'log compact',
  ...onDirectory,
  summary: 'Remove from a stopped log what rules with keep let go of.',
  details: [
    'Takes the same flags, variables and file as tailrace serve; of them the rules, tombstone.age and dedupe count. The directory is the argument, else the setting data. The server must not run: while it does it compacts by itself, a segment at a time when it is worth it.',
  ],
  options: {
    ...jsonOption('{"before":…,"after":…,"rewritten":…,"records":…,"keptForDedupe":…}'),
    ...settingOptions(),
  },
  examples: [
    { command: 'tailrace log compact --config tailrace.yaml', does: 'the data directory of the settings' },
    {
      command: `tailrace log compact ./data --rules '[{"filter":"prices/#","keep":{"last":1}}]'`,
      does: 'by a rule of the moment',
    },
  ],
  exitCodes: { 1: 'the log is in use or damaged, a segment could not be rewritten, or no rule has keep' },
  run,
};

async function run(input: Input): Promise<number> {
  const { config } = readSettings(input);
  const directory = await dataDirectory(input, config.data);
  const keep = keepOptions(config);
  if (keep.rules.length === 0)
    throw new CommandError('no rule has keep, so that nothing may go: name the settings with --config or --rules');
  const { red } = coloursFor(process.stderr);
  let failed = false;
  const onReport = ({ kind, message }: LogReport): void => {
    if (kind === 'compaction' && !input.on('json')) process.stdout.write(`${message}\n`);
    if (kind !== 'compaction_failed' && kind !== 'seal_failed') return;
    failed = true;
    process.stderr.write(`${red('failed:')} ${message}\n`);
  };
  const { ids, age: ageMs, limit } = config.dedupe;
  const dedupe = { ids, ageMs, limit };
  const report = await compact(directory, { keep, dedupe, tableBytes: config.keys.bytes, onReport }).catch(
    (cause: unknown) => {
      throw cause instanceof Error && !(cause instanceof TypeError) ? new CommandError(told(cause), { cause }) : cause;
    },
  );
  printFound(input, report, describe(report));
  return failed ? 1 : 0;
}

function told(error: Error): string {
  return error instanceof DirectoryInUse ? `${error.message}; a server that runs compacts by itself` : error.message;
}

function describe({ before, after, rewritten, records, keptForDedupe }: CompactReport): string {
  const size = `${before.bytes} bytes before, ${after.bytes} after (${formatSize(before.bytes - after.bytes)} less)`;
  const done = `${rewritten} of ${before.segments} segments rewritten without ${records} records: ${size}`;
  if (keptForDedupe === 0) return done;
  return `${done}\n${keptForDedupe} records that rules let go of stay: repeated publishes are recognised by them (dedupe.ids, dedupe.age)`;
}
