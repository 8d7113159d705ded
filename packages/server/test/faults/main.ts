/**
 * `npm run faults -- --engine redis|nats [--only <part of a name>]`: two servers on one engine, publishers at both, subscribers at
 * both that resume by cursor; one fault after another, and what became of it.
 */
import { parseArgs } from 'node:util';
import { natsFaults } from './nats.ts';
import { redisFaults } from './redis.ts';
import { type Fault, FaultRow, type FaultStage, runFault } from './run.ts';

const { values } = parseArgs({ options: { engine: { type: 'string' }, only: { type: 'string' } } });
const engines = { redis: redisFaults.map(runnable), nats: natsFaults.map(runnable) } as const;
const faults = engines[values.engine as keyof typeof engines];
if (faults === undefined) {
  console.error(`--engine takes one of ${Object.keys(engines).join(', ')}`);
  process.exit(2);
}
const rows: FaultRow[] = [];
for (const fault of faults) {
  if (values.only !== undefined && !fault.name.includes(values.only)) continue;
  process.stderr.write(`${fault.name} …\n`);
  rows.push(await fault.run());
}
console.log(FaultRow.table(rows));
process.exitCode = rows.every(row => row.holds) ? 0 : 1;

function runnable<Stage extends FaultStage>(fault: Fault<Stage>): { name: string; run: () => Promise<FaultRow> } {
  return { name: fault.name, run: () => runFault(fault) };
}
