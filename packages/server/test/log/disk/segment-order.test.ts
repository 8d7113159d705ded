import { beforeAll, describe, expect, test } from 'vitest';
import { segmentHeaderBytes } from '../../../src/log/disk/segment/segment-header.ts';
import {
  describeDamage,
  dump,
  LogDamaged,
  type LogReport,
  openDiskLog,
  repair,
  verify,
} from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { baseName, directory, diskWith, type Image, imageOf, prepareLog, textOf } from './prepared-log.ts';
import { SimulatedDisk } from './simulated-disk.ts';

/** A log, and what another run made of a copy of it: the same files by name, number and length, with other records. */
let ours: Image;
let theirs: Image;
/** Segments of both, in order, and where those begin that were written after the copy was made. */
let segments: string[];
let parted: number;

beforeAll(async () => {
  const { image } = await prepareLog(60, 'closed', { segmentBytes: 4096 });
  ours = await continued(image, 'ours');
  theirs = await continued(image, 'theirs');
  segments = [...ours.keys()].filter(name => name.endsWith('.log')).sort();
  expect([...theirs.keys()].filter(name => name.endsWith('.log')).sort()).toEqual(segments);
  parted = segments.findIndex(segment => firstOffset(segment) === 181);
  expect(segments.length - parted).toBeGreaterThan(3);
});

async function continued(image: Image, who: string): Promise<Image> {
  const machine = await diskWith(image);
  const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 4096 });
  for (let i = 0; i < 100; i++) await log.append([message('t/0', `${who} ${i}`.padEnd(100))], 'fsync');
  await log.close();
  return imageOf(machine);
}

function open(machine: SimulatedDisk, acceptLoss = false, reports: LogReport[] = []) {
  const onReport = (report: LogReport) => void reports.push(report);
  const clock = new ManualClock();
  return openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 4096, hotBytes: 1, acceptLoss, onReport });
}

const firstOffset = (segment: string): number => Number(baseName(segment).slice(0, 16));
const indexOf = (segment: string): string => segment.replace(/log$/, 'idx');

describe('a segment in whose place another file was put', () => {
  test.each([
    ['the segment alone', false],
    ['the segment and its index', true],
  ])('is named by its segment and offset, by the start and by verify: %s', async (_, withIndex) => {
    for (let k = parted + 1; k < segments.length - 1; k++) {
      const changed = new Map(ours).set(segments[k]!, theirs.get(segments[k]!)!);
      if (withIndex) changed.set(indexOf(segments[k]!), theirs.get(indexOf(segments[k]!))!);
      expect(changed.get(segments[k]!)).not.toEqual(ours.get(segments[k]!));
      const machine = await diskWith(changed);
      const error = await open(machine).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(LogDamaged);
      const { damages, message } = error as LogDamaged;
      const broken = [segments[k]!, segments[k + 1]!].map(segment => ({
        segment: baseName(segment),
        offset: firstOffset(segment),
        what: expect.stringContaining('does not follow'),
      }));
      expect(damages).toMatchObject(broken);
      expect(damages.every(damage => damage.lost === undefined)).toBe(true);
      expect(message).toMatch(/Put the file that belongs there back, or start once with --accept-loss/);
      const found = (await verify(directory, machine.boot())).damages.filter(({ segment }) => segment.endsWith('.log'));
      expect(found).toMatchObject(broken);
      expect(describeDamage(found[0]!)).toMatch(
        new RegExp(
          `^segment ${baseName(segments[k]!)}, offset ${firstOffset(segments[k]!)}: .*does not follow ${baseName(segments[k - 1]!)}`,
        ),
      );
      expect(imageOf(machine)).toEqual(changed);
    }
  });

  test('of an earlier time is refused too: its records are missing', async () => {
    const machine = new SimulatedDisk(new SeededRandom(1));
    const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 4096 });
    const append = (): Promise<unknown> => log.append([message('a', 'x'.repeat(100))], 'fsync');
    while (log.status.segments < 2) await append();
    const name = machine.files().filter(file => file.endsWith('.log'))[1]!;
    for (let i = 0; i < 5; i++) await append();
    const earlier = Buffer.from(machine.content(name));
    while (log.status.segments < 4) await append();
    await log.close();
    machine.replace(name, earlier);
    await expect(open(machine)).rejects.toMatchObject({ damages: [{ segment: baseName(name) }] });
    expect((await verify(directory, machine.boot())).damages).toContainEqual(
      expect.objectContaining({ segment: baseName(name), lost: expect.anything() }),
    );
  });

  test('of another log is refused by its name', async () => {
    const other = await prepareLog(60, 'closed', { segmentBytes: 4096, random: new SeededRandom(99) });
    const foreign = [...other.image.keys()].filter(name => name.endsWith('.log')).sort()[1]!;
    expect(segments[1]).toBe(foreign);
    const machine = await diskWith(new Map(ours).set(foreign, other.image.get(foreign)!));
    const expected = [{ segment: baseName(foreign), offset: firstOffset(foreign) }];
    await expect(open(machine)).rejects.toMatchObject({ damages: expected });
    expect((await verify(directory, machine.boot())).damages.slice(0, 1)).toMatchObject([
      { ...expected[0], what: 'the segment belongs to another log' },
    ]);
  });

  test('is served as it is once that was accepted: nothing of the rest is lost, nobody asks again', async () => {
    const k = parted + 1;
    const machine = await diskWith(new Map(ours).set(segments[k]!, theirs.get(segments[k]!)!));
    const reports: LogReport[] = [];
    let log = await open(machine, true, reports);
    expect(reports.find(report => report.kind === 'loss_accepted')?.message).toContain('does not follow');
    for (let start = 0; start < 3; start++) {
      const texts = (await readAllOf(log, ['#'])).map(record => textOf(record).trimEnd());
      expect(texts).toHaveLength(280 + start);
      const first = firstOffset(segments[k]!);
      const last = firstOffset(segments[k + 1]!) - 1;
      texts.slice(180, 280).forEach((text, i) => {
        const offset = 181 + i;
        expect(text).toBe(`${offset >= first && offset <= last ? 'theirs' : 'ours'} ${i}`);
      });
      // who stood before it has not read what follows what he read
      expect(log.lost.some(range => range.to > first - 1)).toBe(true);
      await log.append([message('t/0', `start ${start}`)], 'fsync');
      await log.close();
      const report = await verify(directory, machine.boot());
      expect(report.damages).toEqual([]);
      expect(report.notes.filter(note => note.includes('that was accepted'))).toHaveLength(2);
      log = await open(machine);
    }
    await log.close();
    const dumped: number[] = [];
    for await (const { offset } of dump(directory, { disk: machine.boot() })) dumped.push(offset);
    expect(dumped).toEqual(Array.from({ length: 283 }, (_, i) => i + 1));
  });

  test('ends a dump before its first record, and is accepted by a repair', async () => {
    const k = parted + 2;
    const machine = await diskWith(new Map(ours).set(segments[k]!, theirs.get(segments[k]!)!));
    const dumped: number[] = [];
    const all = async (): Promise<void> => {
      for await (const { offset } of dump(directory, { disk: machine.boot() })) dumped.push(offset);
    };
    await expect(all()).rejects.toThrow(new RegExp(`segment ${baseName(segments[k]!)}, .*does not follow`));
    expect(dumped.at(-1)).toBe(firstOffset(segments[k]!) - 1);
    const { before, after } = await repair(directory, machine.boot());
    expect(before.damages.length).toBeGreaterThan(0);
    expect(after).toMatchObject({ damages: [], records: 280 });
  });
});

/** Lets the log say in its newest segment what is durable. */
async function idle(machine: SimulatedDisk, clock: ManualClock): Promise<void> {
  const newest = machine.files().findLast(file => file.endsWith('.log'))!;
  await until('the durable offset is on disk', () => {
    clock.advance(500);
    return machine
      .content(newest)
      .subarray(segmentHeaderBytes)
      .some(byte => byte !== 0);
  });
}

describe('segments follow each other', () => {
  test('across starts, kills and accepted loss in the middle of one', async () => {
    const machine = new SimulatedDisk(new SeededRandom(5));
    for (let start = 0; start < 6; start++) {
      const log = await open(machine);
      for (let i = 0; i < 40; i++) await log.append([message('a', `${start}.${i}`.padEnd(90))], 'fsync');
      if (start % 2 === 0) await log.close();
      machine.kill();
    }
    const name = machine.files().filter(file => file.endsWith('.log'))[1]!;
    const content = machine.content(name);
    content[content.length / 2] = content[content.length / 2]! ^ 1;
    await machine.boot().unlink(indexOf(name));
    machine.syncNames(directory);
    await expect(open(machine)).rejects.toMatchObject({ damages: [{ segment: baseName(name) }] });
    for (const acceptLoss of [true, false, false]) await (await open(machine, acceptLoss)).close();
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });

  test.each(['killed', 'closed'])('from one that only says what is durable: %s', async end => {
    const machine = new SimulatedDisk(new SeededRandom(1));
    const clock = new ManualClock();
    const options = { directory, clock, segmentBytes: 4096 };
    const log = await openDiskLog({ ...options, disk: machine.boot() });
    await log.append([message('a', 'x'.repeat(1000))], 'fsync');
    // begins a new segment, into which an idle log writes the durable offset and nothing else
    await log.trim(1);
    await idle(machine, clock);
    // there is a segment for it already: one of the same name cannot be made
    expect(await log.append([message('a', 'x'.repeat(5000))], 'fsync')).toMatchObject([{ offset: 2 }]);
    expect(await log.append([message('a', 'last')], 'fsync')).toMatchObject([{ offset: 3 }]);
    if (end === 'closed') await log.close();
    machine.kill();
    for (let start = 0; start < 2; start++) {
      const again = await openDiskLog({ ...options, disk: machine.boot() });
      expect((await readAllOf(again, ['a'])).map(record => record.data.length)).toEqual([5000, 4]);
      await again.close();
      expect((await verify(directory, machine.boot())).damages).toEqual([]);
    }
  });

  test('from one whose tail was copied under its own name', async () => {
    const machine = new SimulatedDisk(new SeededRandom(1));
    const clock = new ManualClock();
    const options = { directory, clock, segmentBytes: 4096 };
    const log = await openDiskLog({ ...options, disk: machine.boot() });
    await log.append([message('a', 'x'.repeat(1000))], 'fsync');
    const first = machine.files().find(file => file.endsWith('.log'))!;
    const kept = Buffer.from(machine.content(first));
    await log.trim(1);
    await idle(machine, clock);
    await log.append([message('a', 'second')], 'fsync');
    machine.kill();
    // the segment before it is back, so that there is something to follow
    const disk = machine.boot();
    await disk.open(first, 'create');
    machine.replace(first, kept);
    machine.syncNames(directory);
    const reports: LogReport[] = [];
    for (let start = 0; start < 2; start++) await (await open(machine, false, reports)).close();
    expect(reports.map(report => report.kind)).toContain('tail_copied');
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });
});
