/**
 * `npm run crash -- [--rounds N] [--seed S]`: kills a process that appends, again and again, and checks the log.
 * With `--server` the whole server is killed instead, under HTTP publishers and an SSE subscriber that resumes.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { SeededRandom } from '../log/seeded-random.ts';
import { killServer } from '../server/killed-server.ts';
import { crashRounds } from './rounds.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, server: { type: 'boolean' } },
});
const rounds = Number(values.rounds ?? (values.server ? 50 : 200));
const seed = Number(values.seed ?? 1);
const started = performance.now();
const found = values.server ? await ofServer() : await ofLog();
const seconds = (performance.now() - started) / 1000;
console.log(`${rounds} rounds with seed ${seed} in ${seconds.toFixed(1)} s: ${found}, nothing lost`);

async function ofLog(): Promise<string> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tailrace-crash-'));
  const report = await crashRounds(directory, seed, report => report.rounds === rounds);
  fs.rmSync(directory, { recursive: true });
  return (
    `${report.acked} acks and ${report.received} deliveries checked, ${report.tailsCut} torn tails cut, ` +
    `${report.tailsCopied} tails copied, ${report.sealed} segments sealed`
  );
}

async function ofServer(): Promise<string> {
  const report = await killServer(rounds, new SeededRandom(seed));
  return (
    `${report.acked} acks checked, ${report.received} records received over ${report.reconnects} reconnects, ` +
    `${report.repeated} of them again, ${report.unanswered} publishes cut before their answer`
  );
}
