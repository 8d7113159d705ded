// From samples to a table and to verdicts.
import type { CpuShares } from './cpu.ts';
import type { Goal, Sample, Scenario } from './scenario.ts';

export interface EntryResult {
  name: string;
  samples: Sample[];
  error?: string;
}

export interface Spread {
  min: number;
  median: number;
  max: number;
}

export interface Verdict extends Goal {
  /** The figure itself, or the ratios of the repeats taken pair by pair; missing when an entry was not measured. */
  measured?: Spread;
  /** Missing, too, when the goal has no bound. */
  ok?: boolean;
}

export interface ScenarioResult {
  name: string;
  about: string;
  entries: EntryResult[];
  verdicts: Verdict[];
}

/** Above this share a core has no time left that counts. */
const full = 0.9;
/** Above this share of a core somebody else's work is in the figures. */
const disturbance = 0.05;

export function judge(scenario: Scenario, entries: EntryResult[]): ScenarioResult {
  const { name, about, goals } = scenario;
  return { name, about, entries, verdicts: goals.map(goal => verdictOf(goal, entries)) };
}

/** Whether everything ran and every delivery was counted. */
export function isExact(result: ScenarioResult): boolean {
  return result.entries.every(
    ({ error, samples }) =>
      error === undefined &&
      samples.every(({ count }) => count === undefined || (count.counted === count.expected && count.wrong === 0)),
  );
}

export function renderScenario(result: ScenarioResult): string {
  const rows: string[][] = [['', '', 'min', 'median', 'max']];
  const figures = new Set(result.entries.flatMap(({ samples }) => samples.flatMap(s => Object.keys(s.figures))));
  for (const figure of figures) {
    let label = figure;
    for (const { name, samples } of result.entries) {
      if (!samples.some(({ figures }) => figure in figures)) continue;
      const spread = spreadOf(samples.map(sample => sample.figures[figure]));
      if (spread === undefined) rows.push([label, name, 'no samples', '', '']);
      else rows.push([label, name, format(spread.min), format(spread.median), format(spread.max)]);
      label = '';
    }
  }
  const lines = [`\n${result.name}: ${result.about}`, ...align(rows).map(row => `  ${row}`)];
  for (const entry of result.entries) lines.push(...remarks(entry).map(text => `  ${entry.name}: ${text}`));
  for (const verdict of result.verdicts) lines.push(`  ${renderVerdict(verdict)}`);
  return lines.join('\n');
}

export function renderSummary(results: ScenarioResult[]): string {
  const rows = results.flatMap(({ name, verdicts }) =>
    verdicts.filter(({ measured }) => measured !== undefined).map(verdict => [name, renderVerdict(verdict)]),
  );
  return rows.length === 0 ? '' : ['\nGoals', ...align(rows, 2).map(row => `  ${row}`)].join('\n');
}

function verdictOf(goal: Goal, entries: EntryResult[]): Verdict {
  const valuesOf = (name: string): (number | undefined)[] =>
    entries.find(entry => entry.name === name)?.samples.map(sample => sample.figures[goal.figure]) ?? [];
  const own = valuesOf(goal.of);
  const other = goal.to === undefined ? undefined : valuesOf(goal.to);
  const values = other === undefined ? own : own.map((value, repeat) => quotient(value, other[repeat]));
  const measured = spreadOf(values);
  if (measured === undefined) return goal;
  if (goal.atLeast === undefined && goal.atMost === undefined) return { ...goal, measured };
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = goal;
  return { ...goal, measured, ok: measured.median >= atLeast && measured.median <= atMost };
}

function renderVerdict({ figure, of, to, atLeast, atMost, measured, ok }: Verdict): string {
  const unit = to === undefined ? '' : 'x';
  const bound = [
    ...(atLeast === undefined ? [] : [`≥ ${bounds(atLeast)}${unit}`]),
    ...(atMost === undefined ? [] : [`≤ ${bounds(atMost)}${unit}`]),
  ].join(' and ');
  const claim =
    bound === '' ? `${figure}, ${of} to ${to}` : `${figure}, ${of} ${bound}${to === undefined ? '' : ` ${to}`}`;
  if (measured === undefined) return `${claim}: not measured`;
  const range = `${format(measured.min)}–${format(measured.max)}`;
  return `${claim}: ${format(measured.median)}${unit} (${range}) ${ok === undefined ? 'for information' : ok ? 'ok' : 'SHORT'}`;
}

function remarks({ error, samples }: EntryResult): string[] {
  const texts: string[] = [];
  if (error !== undefined) texts.push(`FAILED: ${error}`);
  const shares = samples.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]));
  if (shares.length > 0) {
    const most = (name: keyof CpuShares): number => Math.max(...shares.map(share => share[name]));
    const middle = (name: keyof CpuShares): string => percent(spreadOf(shares.map(share => share[name]))?.median ?? 0);
    const saturated = shares.filter(({ load }) => load > full);
    // a server without idle time is a limit of its own, whatever the load generator could still do
    const alone = saturated.filter(({ serverCore }) => serverCore < full);
    const saturation =
      saturated.length === 0
        ? ''
        : ` SATURATED in ${saturated.length} of ${shares.length} repeats: ` +
          (alone.length > 0 ? 'the load generator was the limit' : "the server's core was full too");
    const disturbed =
      most('others') > disturbance || most('stolen') > disturbance
        ? `; DISTURBED: other processes used up to ${percent(most('others'))} of a core, ` +
          `the host of this machine ${percent(most('stolen'))}`
        : '';
    texts.push(`core use: server ${middle('server')}, load ${middle('load')}${saturation}${disturbed}`);
  }
  const sum = (pick: (sample: Sample) => number | undefined): number =>
    samples.reduce((total, sample) => total + (pick(sample) ?? 0), 0);
  const expected = sum(({ count }) => count?.expected);
  const counted = sum(({ count }) => count?.counted);
  const wrong = sum(({ count }) => count?.wrong);
  if (expected > 0) {
    const verdict = counted === expected && wrong === 0 ? 'exact' : `WRONG at ${format(wrong)} subscribers`;
    texts.push(`counted ${integer(counted)} of ${integer(expected)} deliveries: ${verdict}`);
  }
  const refused = sum(sample => sample.refused);
  if (refused > 0) texts.push(`${integer(refused)} publishes refused (503 or the like)`);
  const lost = sum(sample => sample.lost);
  if (lost > 0) texts.push(`${integer(lost)} STREAMS ENDED EARLY`);
  return texts;
}

function spreadOf(values: readonly (number | undefined)[]): Spread | undefined {
  const sorted = values.filter(isMeasured).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { min: sorted[0]!, median, max: sorted.at(-1)! };
}

/** A quantile of nothing is NaN, and null when it came from the load process: JSON has no NaN. */
function isMeasured(value: number | null | undefined): value is number {
  return Number.isFinite(value);
}

function quotient(a: number | undefined, b: number | undefined): number | undefined {
  return isMeasured(a) && isMeasured(b) ? a / b : undefined;
}

function align(rows: string[][], leftColumns = 2): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  return rows.map(row =>
    row
      .map((cell, column) => (column < leftColumns ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

function format(value: number): string {
  if (Math.abs(value) >= 100) return integer(value);
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return Math.abs(value) >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}

function bounds(value: number): string {
  return value >= 100 ? integer(value) : String(Number(value.toFixed(2)));
}

function integer(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
