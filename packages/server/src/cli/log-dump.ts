import { type Envelope, filterSet } from '@tailrace/protocol';
import { envelopeText } from '../hub/index.ts';
import { dump, LogDamaged } from '../log/index.ts';
import { workBesideServer } from './beside-server.ts';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { checkFilterArguments } from './filters.ts';
import { dataDirectory, directoryHelp, onDirectory } from './log-command.ts';
import { printer } from './print-message.ts';
import { printForm, printOptions } from './sub.ts';

export const logDump: Command = {
  name: 'log dump',
  ...onDirectory,
  summary: 'Print the records of a data directory offline.',
  details: [`No server needs to run. ${directoryHelp}`],
  options: {
    filter: { type: 'list', value: 'filter', help: 'Only topics that match; may be given several times.' },
    from: { type: 'text', value: 'offset', help: 'First offset.' },
    to: { type: 'text', value: 'offset', help: 'Last offset.' },
    ...printOptions,
  },
  examples: [
    { command: 'tailrace log dump --json > all.ndjson', does: 'everything in ./data' },
    { command: `tailrace log dump /backup/data --filter 'orders/#' --from 1000`, does: 'a part of a backup' },
  ],
  exitCodes: { 1: 'damage was met (what comes before it was printed), or the directory cannot be read' },
  run,
};

async function run(input: Input): Promise<number> {
  workBesideServer();
  const filters = input.list('filter');
  checkFilterArguments(filters);
  const { print, flushed } = printer(printForm(input), coloursFor(process.stdout));
  const records = dump(await dataDirectory(input), {
    from: input.count('from', 1),
    to: input.count('to', 1),
    filters: filters.length === 0 ? undefined : filterSet(filters),
  });
  try {
    for await (const record of records) print(JSON.parse(envelopeText(record)) as Envelope);
  } catch (error) {
    throw error instanceof LogDamaged ? new CommandError(error.message, { cause: error }) : error;
  } finally {
    await flushed();
  }
  return 0;
}
