// npm run bench: measures scenario after scenario, the entries of each in turn. See README.md.
import { writeFileSync } from 'node:fs';
import { type Arguments, readArguments, usage } from './arguments.ts';
import { usualPayload } from './load/payload.ts';
import { describeMachine, readMachine } from './machine.ts';
import { pinSelf } from './pin.ts';
import { type EntryResult, isExact, judge, renderScenario, renderSummary, type ScenarioResult } from './report.ts';
import type { Entry, Options, Scenario } from './scenario.ts';
import { allScenarios } from './scenarios/all.ts';

const exitCodes = { failed: 1, cannotRun: 2, interrupted: 130 } as const;

// children end with this process, also when it is interrupted or its launcher goes
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
process.on('disconnect', interrupt);

try {
  process.exit(await main(readArguments(process.argv.slice(2))));
} catch (error) {
  console.error(`bench: ${messageOf(error)}`);
  process.exit(exitCodes.cannotRun);
}

async function main({ show, scenarios: names, only, json, options }: Arguments): Promise<number> {
  const scenarios = selectScenarios(names, show === 'scenarios');
  if (show === 'usage') console.log(usage);
  if (show === 'scenarios') for (const { name, about } of scenarios) console.log(`${name.padEnd(15)} ${about}`);
  if (show !== undefined) return 0;

  const machine = readMachine();
  pinSelf();
  const print = json === '-' ? console.error : console.log;
  const { repeats, windowMs, warmUpMs } = options;
  print(describeMachine(machine));
  print(
    `${usualPayload}-byte JSON · repeats: ${repeats} · window: ${windowMs / 1000} s after ${warmUpMs / 1000} s of warm-up`,
  );

  const results: ScenarioResult[] = [];
  for (const scenario of scenarios) {
    const entries = scenario.entries.filter(({ name }) => only?.includes(name) ?? (name !== 'nchan' || options.peers));
    if (entries.length === 0) continue;
    const turns = scenario.long ? { ...options, repeats: 1 } : options;
    const result = judge(scenario, await measure(scenario.name, entries, turns));
    results.push(result);
    print(renderScenario(result));
    // after each scenario, so that an interrupted run leaves what it has
    if (json !== undefined && json !== '-') writeFileSync(json, toJson());
  }
  print(renderSummary(results));
  if (options.historyBytes < 10e9)
    print('With --quick: what is said of 10 GB was measured on 0.2 GB, and one short turn says little of any goal.');
  if (json === '-') process.stdout.write(toJson());
  return results.every(isExact) ? 0 : exitCodes.failed;

  function toJson(): string {
    return `${JSON.stringify({ machine, options, scenarios: results }, null, 2)}\n`;
  }
}

function selectScenarios(names: string[], long: boolean): Scenario[] {
  const all = allScenarios();
  if (names.length === 0) return all.filter(scenario => long || !scenario.long);
  return names.flatMap(name => {
    const chosen = all.filter(scenario => scenario.name === name || scenario.name.startsWith(`${name}-`));
    if (chosen.length === 0) throw new Error(`no scenario "${name}"; --list shows them`);
    return chosen;
  });
}

/** All repeats, the entries in turn, so that what changes on the machine meanwhile changes all of them. */
async function measure(scenario: string, entries: Entry[], options: Options): Promise<EntryResult[]> {
  const results: EntryResult[] = entries.map(({ name }) => ({ name, samples: [] }));
  for (let repeat = 1; repeat <= options.repeats; repeat++) {
    for (const [index, entry] of entries.entries()) {
      const result = results[index]!;
      if (result.error !== undefined) continue;
      showProgress(`${scenario} ${repeat}/${options.repeats} ${entry.name} …`);
      try {
        result.samples.push(await entry.measure(options));
      } catch (error) {
        result.error = messageOf(error);
      }
    }
  }
  showProgress('');
  return results;
}

function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function interrupt(): void {
  process.exit(exitCodes.interrupted);
}
