import { repair } from '../log/index.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { dataDirectory, directoryHelp, jsonOption, onDirectory } from './log-command.ts';
import { printLogReport } from './log-report.ts';

export const logRepair: Command = {
  name: 'log repair',
  ...onDirectory,
  summary: 'Set damaged parts of a data directory aside, so that the server starts again.',
  details: [
    `Keeps every whole record, leaves out what cannot be read, and keeps copies of all damaged bytes in quarantine/ inside the directory. ${directoryHelp} The server must not run. Subscribers whose cursors point into what is lost are told a gap or reset.`,
  ],
  options: jsonOption('{"before":…,"after":…,"steps":[…]}'),
  examples: [
    { command: 'tailrace log verify; tailrace log repair', does: 'look first, then mend ./data' },
    { command: 'tailrace log repair /var/lib/tailrace --json', does: 'for a script' },
  ],
  exitCodes: { 1: 'the log is damaged still, or is in use' },
  run,
};

async function run(input: Input): Promise<number> {
  const report = await repair(await dataDirectory(input)).catch((cause: unknown) => {
    throw cause instanceof Error && !(cause instanceof TypeError) ? new CommandError(cause.message, { cause }) : cause;
  });
  return printLogReport(input, { json: report, verified: report.after, steps: report.steps });
}
