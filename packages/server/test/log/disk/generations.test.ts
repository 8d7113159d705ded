import * as path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  backup,
  type DiskLog,
  type DiskLogOptions,
  dump,
  type LogReport,
  openDiskLog,
  repair,
  stats,
  verify,
} from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { directory, diskWith, type Image, imageOf } from './prepared-log.ts';
import { SimulatedDisk } from './simulated-disk.ts';

const options: Partial<DiskLogOptions> = { segmentBytes: 2048, hotBytes: 1, dedupe: { ids: 0, ageMs: 0 } };

/** A closed log that was rewritten, with both generations of its second segment. */
let both: Image;
let older: string;
let newer: string;
const index = (segment: string): string => segment.replace(/\.log$/, '.idx');

beforeAll(async () => {
  const machine = new SimulatedDisk(new SeededRandom(1));
  const keep = { rules: [{ filter: 'a', last: 3 }] };
  const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), ...options, keep });
  for (let i = 0; i < 60; i++)
    await log.append([message('a', '.'.repeat(100)), message('b', '.'.repeat(100))], 'fsync');
  const before = imageOf(machine);
  await log.compact();
  await log.close();
  const after = imageOf(machine);
  newer = [...after.keys()].filter(name => name.endsWith('.0001.log')).sort()[1]!;
  older = newer.replace('.0001.log', '.0000.log');
  both = new Map([...after, [older, before.get(older)!], [index(older), before.get(index(older))!]]);
});

function broken(change: (content: Buffer) => Buffer, ...names: string[]): Image {
  return new Map([...both].map(([name, content]) => [name, names.includes(name) ? change(content) : content]));
}

const middleChanged = (content: Buffer): Buffer => {
  const changed = Buffer.from(content);
  changed[Math.floor(content.length * 0.7)]! ^= 4;
  return changed;
};

function start(machine: SimulatedDisk, acceptLoss: boolean, reports: LogReport[] = []): Promise<DiskLog> {
  const disk = machine.boot();
  const onReport = (report: LogReport) => void reports.push(report);
  return openDiskLog({ directory, disk, clock: new ManualClock(), ...options, acceptLoss, onReport });
}

/** How many records it has. */
async function open(machine: SimulatedDisk, acceptLoss: boolean, reports: LogReport[] = []): Promise<number> {
  const log = await start(machine, acceptLoss, reports);
  const { length } = await readAllOf(log, ['#']);
  await log.close();
  return length;
}

const damages: [string, (content: Buffer) => Buffer][] = [
  ['700 bytes of it', content => content.subarray(0, 700)],
  ['its header', content => content.subarray(0, 128)],
  ['nothing', () => Buffer.alloc(0)],
  ['all but a bit', middleChanged],
];

describe('a newer generation of which there is', () => {
  test.each(damages)('%s: a refused start leaves the older one, a repair goes on with it', async (_, change) => {
    const whole = await open(await diskWith(new Map([...both].filter(([name]) => name !== newer))), false);
    const machine = await diskWith(broken(change, newer));
    for (let start = 0; start < 2; start++) {
      await expect(open(machine, false)).rejects.toThrow(/\.0000\.log, which it was to replace, is whole: `tailrace/);
      for (const name of [older, index(older), newer]) expect(machine.files()).toContain(name);
    }
    const { after, steps } = await repair(directory, machine.boot());
    expect(after.damages).toEqual([]);
    expect(after.records).toBe(whole);
    expect(steps.join('\n')).toContain('is whole and takes its place');
    expect(machine.files()).not.toContain(newer);
    expect(machine.files()).toContain(older);
    const kept = machine.files().filter(name => name.includes('quarantine'));
    expect(kept.map(name => machine.content(name))).toEqual([change(both.get(newer)!)]);
    expect(await open(machine, false)).toBe(whole);
  });

  test.each(damages)('%s, beside a broken older one: neither goes before loss is accepted', async (_, change) => {
    const machine = await diskWith(broken(change, newer, older));
    await expect(start(machine, false)).rejects.toThrow('--accept-loss');
    for (const name of [older, newer]) expect(machine.content(name)).toEqual(change(both.get(name)!));
    await (await start(machine, true)).close();
    const kept = machine.files().filter(name => name.includes('quarantine'));
    expect(kept).toHaveLength(2);
    expect(machine.files()).not.toContain(older);
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
    await (await start(machine, false)).close();
  });
});

test('of two whole generations the older goes', async () => {
  const reports: LogReport[] = [];
  const machine = await diskWith(both);
  await open(machine, false, reports);
  expect(machine.files()).not.toContain(older);
  expect(machine.files()).not.toContain(index(older));
  expect(machine.files()).toContain(newer);
  expect(reports.map(({ kind }) => kind)).toEqual(['recovered']);
});

test('a repair that loses power anywhere goes on with the older generation at the next', async () => {
  const image = broken(content => content.subarray(0, 700), newer);
  const whole = await open(await diskWith(new Map([...both].filter(([name]) => name !== newer))), false);
  for (let at = 1, dies = true; dies; at++) {
    const machine = await diskWith(image, at);
    const died = new Promise<'died'>(resolve => {
      machine.onOperation = count => {
        if (count < at) return;
        machine.onOperation = undefined;
        machine.cut();
        resolve('died');
      };
    });
    dies = (await Promise.race([open(machine, true), died])) === 'died';
    machine.onOperation = undefined;
    if (!dies) continue;
    expect(await open(machine, true), `cut at ${at}`).toBe(whole);
    expect(at).toBeLessThan(2000);
  }
});

describe('a newer generation that is broken, beside an older one that is whole', () => {
  test('is passed over by all that reads the directory offline, and named by those that report', async () => {
    const machine = await diskWith(broken(middleChanged, newer));
    const disk = machine.boot();
    const expected = await open(await diskWith(new Map([...both].filter(([name]) => name !== newer))), false);
    const offsets: number[] = [];
    for await (const { offset } of dump(directory, { disk })) offsets.push(offset);
    expect(offsets).toHaveLength(expected);
    const [bad = '', whole = ''] = [newer, older].map(name => path.basename(name));
    const told = new RegExp(
      `^${bad} is broken \\(.*\\); ${whole}, which it was to replace, is whole and is read instead$`,
    );
    const counted = await stats(directory, { disk });
    expect(counted).toMatchObject({ records: expected, notes: [expect.stringMatching(told)] });
    const { damages, records } = await verify(directory, disk);
    expect([records, damages]).toEqual([
      expected,
      [{ segment: bad, offset: expect.any(Number), what: expect.stringMatching(told) }],
    ]);
    const copy = '/backup';
    await backup(directory, copy, { disk, now: 0, verify: true });
    const copied: number[] = [];
    for await (const { offset } of dump(copy, { disk })) copied.push(offset);
    expect(copied).toEqual(offsets);
    expect((await verify(copy, disk)).damages).toEqual([]);
  });
});
