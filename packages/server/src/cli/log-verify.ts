import { describeDamage, type VerifyReport, verify } from '../log/index.ts';
import { type Colours, coloursFor } from './colour.ts';
import type { Command, Input } from './command.ts';
import { dataDirectory, directoryHelp } from './data-directory.ts';

export const logVerify: Command = {
  name: 'log verify',
  arguments: '[directory]',
  summary: 'Read a data directory offline and report every damaged frame.',
  details: [
    `Reads every byte and changes nothing. ${directoryHelp} While a server writes to it, the newest records may look unfinished.`,
  ],
  options: { json: { type: 'switch', help: 'Print the report as JSON.' } },
  examples: [
    { command: 'tailrace log verify', does: 'the log in ./data' },
    { command: 'tailrace log verify /var/lib/tailrace --json', does: 'for a monitor' },
  ],
  exitCodes: { 1: 'damage was found' },
  positionals: { least: 0, most: 1 },
  run,
};

async function run(input: Input): Promise<number> {
  const report = await verify(dataDirectory(input));
  process.stdout.write(
    input.on('json') ? `${JSON.stringify(report)}\n` : verifyText(report, coloursFor(process.stdout)),
  );
  return report.damages.length === 0 ? 0 : 1;
}

/** The report for people: damages first, the verdict last. */
export function verifyText(
  { damages, notes, segments, records, bytes, first, last }: VerifyReport,
  colours: Colours,
): string {
  const lines = [
    ...damages.map(damage => `${colours.red('damaged:')} ${describeDamage(damage)}`),
    ...notes.map(note => `${colours.yellow('note:')} ${note}`),
    `${segments} segments, ${records} records, ${bytes} bytes, offsets ${first} to ${last}: ${
      damages.length === 0 ? 'the log is whole' : `damaged in ${damages.length} place${damages.length === 1 ? '' : 's'}`
    }`,
  ];
  return `${lines.join('\n')}\n`;
}
