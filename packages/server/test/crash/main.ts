/** `npm run crash -- [--rounds N] [--seed S]`: kills a process that appends, again and again, and checks the log. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { crashRounds } from './rounds.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string' }, seed: { type: 'string' } } });
const rounds = Number(values.rounds ?? 200);
const seed = Number(values.seed ?? 1);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tailrace-crash-'));
const started = performance.now();
const report = await crashRounds(directory, rounds, seed);
fs.rmSync(directory, { recursive: true });
const seconds = (performance.now() - started) / 1000;
console.log(
  `${report.rounds} rounds with seed ${seed} in ${seconds.toFixed(1)} s: ${report.acked} acks checked, ` +
    `${report.tailsCut} torn tails cut, ${report.tailsCopied} tails copied, ${report.sealed} segments sealed, nothing lost`,
);
