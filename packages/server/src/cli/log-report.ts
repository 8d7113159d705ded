import { describeDamage, type VerifyReport } from '../log/index.ts';
import { type Colours, coloursFor } from './colour.ts';
import type { Input } from './command.ts';
import { printFound } from './log-command.ts';

/** What a command found in a data directory. */
export interface LogReported {
  /** What `--json` prints. */
  readonly json: object;
  /** How the log is at the end. */
  readonly verified: VerifyReport;
  /** What was done to it, for people. */
  readonly steps?: readonly string[];
}

/** Prints it; the exit code is 0 for a log that is whole. */
export function printLogReport(input: Input, { json, verified, steps = [] }: LogReported): number {
  printFound(input, json, [...steps, ...linesOf(verified, coloursFor(process.stdout))].join('\n'));
  return verified.damages.length === 0 ? 0 : 1;
}

/** Damages first, the verdict last. */
function linesOf({ damages, notes, segments, records, bytes, first, last }: VerifyReport, colours: Colours): string[] {
  const verdict =
    damages.length === 0 ? 'the log is whole' : `damaged in ${damages.length} place${damages.length === 1 ? '' : 's'}`;
  return [
    ...damages.map(damage => `${colours.red('damaged:')} ${describeDamage(damage)}`),
    ...notes.map(note => `${colours.yellow('note:')} ${note}`),
    `${segments} segments, ${records} records, ${bytes} bytes, offsets ${first} to ${last}: ${verdict}`,
  ];
}
