import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type DiskLog, openDiskLog } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { directory, textOf } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const segmentBytes = 65_536;
const before = 3;

interface Subject {
  readonly machine: SimulatedDisk;
  readonly log: DiskLog;
  /** Of the two appends whose commits are under way, in order: what became of them. */
  readonly ends: string[];
  readonly both: Promise<unknown>;
}

/** A log with `before` records and two commits on their way, none of which ends. */
async function twoUnderWay(seed: number, fail: 'first' | 'none' = 'none'): Promise<Subject> {
  const machine = new SimulatedDisk(new SeededRandom(seed));
  machine.writesDirect = true;
  const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes });
  for (let i = 1; i <= before; i++) await log.append([message('t', textAt(i))], 'fsync');
  await until('the segments are filled', () => machine.usedBytes >= 2 * segmentBytes);
  machine.stall = operation => operation === 'sync';
  if (fail === 'first')
    machine.fault = (operation, file) => {
      if (operation !== 'sync') return;
      machine.fault = undefined;
      throw failure('EIO', file);
    };
  const ends: string[] = [];
  const appends: Promise<unknown>[] = [];
  for (const number of [1, 2]) {
    const appended = log.append([message('t', textAt(before + number))], 'fsync');
    appends.push(
      appended.then(
        ([result]) => void ends.push(`${number} ${JSON.stringify(result)}`),
        (error: { code: string }) => void ends.push(`${number} ${error.code}`),
      ),
    );
    await until(`${number} under way`, () => machine.stalled === number);
  }
  return { machine, log, ends, both: Promise.all(appends) };
}

function textAt(offset: number): string {
  return `${offset} `.padEnd(2000 + 700 * (offset % 2), 'x');
}

async function someTurns(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

/** How many records are there after the next start: the first of what was appended. */
async function recordsLeft(machine: SimulatedDisk): Promise<number> {
  const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes });
  const texts = (await readAllOf(log, ['t'])).map(textOf);
  expect(texts).toEqual(texts.map((_, i) => textAt(i + 1)));
  const [next] = await log.append([message('t', 'next')], 'fsync');
  expect(next).toMatchObject({ offset: texts.length + 1 });
  await log.close();
  return texts.length;
}

test('the second of two commits is not seen or acked before the first, also when the disk has it first', async () => {
  const { machine, log, ends, both } = await twoUnderWay(1);
  machine.resumeNewest();
  await someTurns();
  expect(ends).toEqual([]);
  expect(log.head.offset).toBe(before);
  expect(log.durableOffset).toBe(before);
  machine.resume();
  await both;
  expect(ends.map(end => end.slice(0, 13))).toEqual(['1 {"offset":4', '2 {"offset":5']);
  machine.cut();
  expect(await recordsLeft(machine)).toBe(before + 2);
});

test('a commit that fails takes the one behind it along, although the disk has that', async () => {
  const { machine, log, ends, both } = await twoUnderWay(2, 'first');
  machine.resumeNewest();
  await someTurns();
  expect(ends).toEqual([]);
  machine.resume();
  await both;
  expect(ends).toEqual(['1 outcome_unknown', '2 outcome_unknown']);
  expect(log.head.offset).toBe(before);
  expect(log.status.state).toBe('fenced');
  await expect(log.append([message('t')], 'fsync')).rejects.toMatchObject({ code: 'log_fenced' });
  await log.close();
  machine.cut();
  expect(await recordsLeft(machine)).toBe(before);
});

test('a file is not closed before what is being written to it is, and nothing is acked by an owner that is none', async () => {
  const { machine, log, ends, both } = await twoUnderWay(3);
  machine.lost = true;
  const closed = log.close().then(() => ends.push('closed'));
  await someTurns();
  expect(ends).toEqual([]);
  machine.resume();
  await both;
  await closed;
  expect(ends).toEqual(['1 outcome_unknown', '2 outcome_unknown', 'closed']);
});

test('whatever a power cut leaves of two commits under way, the first records are there and the log goes on', async () => {
  const left = new Map<number, number>();
  let cut = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const { machine, ends } = await twoUnderWay(seed);
    // the second may be on the disk for good
    if (seed % 2 === 0) machine.resumeNewest();
    await someTurns();
    expect(ends).toEqual([]);
    machine.cut();
    machine.resume();
    const records = await recordsLeft(machine);
    left.set(records, (left.get(records) ?? 0) + 1);
    cut += machine.files().filter(file => file.endsWith('.cut')).length;
  }
  expect([...left.keys()].sort()).toEqual([before, before + 1, before + 2]);
  expect(cut).toBeGreaterThan(50);
}, 60_000);
