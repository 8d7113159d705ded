import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { type DiskLog, type DiskLogOptions, type LogReport, openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { directory } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const records = 300;

interface Subject {
  readonly machine: SimulatedDisk;
  readonly reports: LogReport[];
  open(): Promise<DiskLog>;
}

/** A log of several complete segments that has been closed. */
async function subject(): Promise<Subject> {
  const machine = new SimulatedDisk(new SeededRandom(3));
  const reports: LogReport[] = [];
  const options: Partial<DiskLogOptions> = { clock: new ManualClock(), segmentBytes: 4096, hotBytes: 1 };
  const open = (): Promise<DiskLog> =>
    openDiskLog({ directory, disk: machine.boot(), ...options, onReport: report => reports.push(report) });
  const log = await open();
  for (let i = 0; i < records; i++) await log.append([message(`t/${i % 3}`, `${i}`.padEnd(50, '.'))], 'fsync');
  await log.close();
  return { machine, reports, open };
}

/** The sectors under every index that is there now cannot be read. */
function breakIndexes(machine: SimulatedDisk, reports: readonly LogReport[]): void {
  machine.fault = (operation, file) => {
    const name = file.slice(directory.length + 1);
    const segment = name.replace(/idx$/, 'log');
    const renewed = reports.some(({ kind, at }) => kind === 'index_rebuilt' && at?.segment === segment);
    if (operation === 'read' && name.endsWith('.idx') && !renewed) throw failure('EIO', file);
  };
}

const reads: [string, (log: DiskLog) => Promise<unknown>, unknown][] = [
  ['one topic', async log => (await readAllOf(log, ['t/1'])).length, records / 3],
  ['a wildcard', async log => (await readAllOf(log, ['t/+'])).length, records],
  ['the newest', log => log.newest(filterSet(['t/1']), 2, records), Float64Array.of(records - 4, records - 1)],
  ['all topics', async log => (await log.topics('t/', '', 10)).map(({ topic }) => topic), ['t/0', 't/1', 't/2']],
];

describe('an index that the disk cannot read', () => {
  test.each(reads)('is built anew from its segment for who reads %s', async (_, read, expected) => {
    const { machine, reports, open } = await subject();
    const log = await open();
    breakIndexes(machine, reports);
    expect(await read(log)).toEqual(expected);
    const rebuilt = reports.filter(({ kind }) => kind === 'index_rebuilt');
    expect(rebuilt.length).toBeGreaterThan(0);
    expect(rebuilt[0]).toMatchObject({
      message: expect.stringMatching(/the index of .*\.log is damaged: the disk cannot read it \(EIO\): built anew/),
    });
    expect(log.status.damagedReads).toBe(0);
    await log.close();
    machine.fault = undefined;
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });

  test('stays in memory when the file that takes its place cannot be read either', async () => {
    const { machine, reports, open } = await subject();
    const log = await open();
    machine.fault = (operation, file) => {
      if (operation === 'read' && file.endsWith('.idx')) throw failure('EIO', file);
    };
    for (const [name, read, expected] of reads) expect(await read(log), name).toEqual(expected);
    await until('it is told', () => reports.some(({ kind }) => kind === 'seal_failed'));
    await log.close();
  });

  test('keeps no log from starting: its segment is scanned instead', async () => {
    const { machine, reports, open } = await subject();
    breakIndexes(machine, reports);
    const log = await open();
    const told = reports.filter(({ kind }) => kind === 'index_rebuilt');
    expect(told.length).toBeGreaterThan(2);
    expect(told[0]).toMatchObject({
      level: 'warn',
      message: expect.stringMatching(
        /^the index of .*\.log is damaged: the disk cannot read it \(EIO\): all of the segment is read, and the index built anew$/,
      ),
    });
    for (const [name, read, expected] of reads) expect(await read(log), name).toEqual(expected);
    await log.close();
  });
});
