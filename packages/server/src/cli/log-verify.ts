import { verify } from '../log/index.ts';
import { workBesideServer } from './beside-server.ts';
import type { Command, Input } from './command.ts';
import { dataDirectory, directoryHelp, jsonOption, onDirectory } from './log-command.ts';
import { printLogReport } from './log-report.ts';

export const logVerify: Command = {
  name: 'log verify',
  ...onDirectory,
  summary: 'Read a data directory offline and report every damaged frame.',
  details: [
    `Reads every byte and changes nothing. ${directoryHelp} While a server writes to it, the newest records may look unfinished.`,
  ],
  options: jsonOption('the report'),
  examples: [
    { command: 'tailrace log verify', does: 'the log in ./data' },
    { command: 'tailrace log verify /var/lib/tailrace --json', does: 'for a monitor' },
  ],
  exitCodes: { 1: 'damage was found, or the directory cannot be read' },
  run,
};

async function run(input: Input): Promise<number> {
  workBesideServer();
  const report = await verify(await dataDirectory(input));
  return printLogReport(input, { json: report, verified: report });
}
