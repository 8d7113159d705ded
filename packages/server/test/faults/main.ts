/**
 * `npm run faults -- --engine redis|kafka|nats [--only <part of a name>]`: two servers on one engine, publishers at both,
 * subscribers at both that resume by cursor; one fault after another, and what became of it.
 */
import { parseArgs } from 'node:util';
import { kafkaFaults } from './kafka.ts';
import { natsFaults } from './nats.ts';
import { redisFaults } from './redis.ts';
import { type Fault, FaultRow, runFault } from './run.ts';

const { values } = parseArgs({ options: { engine: { type: 'string' }, only: { type: 'string' } } });
const engines: Readonly<Record<string, readonly Fault[]>> = {
  redis: redisFaults,
  kafka: kafkaFaults,
  nats: natsFaults,
};
const faults = engines[values.engine ?? ''];
if (faults === undefined) {
  console.error(`--engine takes one of ${Object.keys(engines).join(', ')}`);
  process.exit(2);
}
const rows: FaultRow[] = [];
for (const fault of faults) {
  if (values.only !== undefined && !fault.name.includes(values.only)) continue;
  const impossible = fault.impossible?.();
  if (impossible !== undefined) {
    process.stderr.write(`NOT RUN: ${fault.name}: ${impossible}\n`);
    continue;
  }
  process.stderr.write(`${fault.name} …\n`);
  rows.push(await runFault(fault));
}
console.log(FaultRow.table(rows));
process.exitCode = rows.every(row => row.holds) ? 0 : 1;
