import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readEpochs } from '../../../src/log/disk/files/epochs-file.ts';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import { segmentHeaderBytes } from '../../../src/log/disk/segment/segment-header.ts';
import { type DiskLog, LogDamaged, type LogReport, openDiskLog, verify } from '../../../src/log/index.ts';
import { copyLeftBehind } from '../left-behind.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { type SmallFileSystem, smallFileSystem } from '../small-file-system.ts';
import { directory, diskWith, newestSegment, prepareLog, textOf } from './prepared-log.ts';
import { failure, type SimulatedDisk } from './simulated-disk.ts';

interface Subject {
  readonly log: DiskLog;
  readonly clock: ManualClock;
  readonly reports: LogReport[];
}

/** A log in the file system, killed behind its last ack or closed, of `count` records. */
async function writeLog(data: string, count: number, end: 'killed' | 'closed'): Promise<void> {
  const log = await openDiskLog({ directory: data, clock: new ManualClock(), segmentBytes: 64 * 1024 });
  for (let i = 1; i <= count; i++) await log.append([message('a', `record ${i}`, { id: `i${i}` })], 'fsync');
  if (end === 'closed') {
    await log.close();
    // the next owner would replace it and find its block free
    fs.rmSync(path.join(data, 'term'));
    return;
  }
  const left = `${data}.left`;
  copyLeftBehind(data, left);
  await log.close();
  fs.rmSync(data, { recursive: true });
  fs.renameSync(left, data);
}

async function open(data: string): Promise<Subject> {
  const clock = new ManualClock();
  const reports: LogReport[] = [];
  const onReport = (report: LogReport) => void reports.push(report);
  const log = await openDiskLog({ directory: data, clock, segmentBytes: 64 * 1024, hotBytes: 1, onReport });
  return { log, clock, reports };
}

const kinds = ({ reports }: Subject): string[] => reports.map(report => report.kind);

async function spaceBack({ log, clock }: Subject, mount: SmallFileSystem): Promise<void> {
  mount.free();
  await until('space is back', () => {
    clock.advance(500);
    return log.status.state === 'open';
  });
}

describe('a start on a full disk', () => {
  test('serves reads, refuses publishes by name, and takes them again without a restart', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    await writeLog(data, 100, 'closed');
    mount.fill();
    const before = await readEpochs(nodeDisk, data);
    const subject = await open(data);
    const { log } = subject;
    expect(log.status).toMatchObject({ state: 'full', reason: expect.stringContaining('ENOSPC') });
    expect(kinds(subject)).toContain('full');
    expect((await readAllOf(log, ['a'])).map(textOf)).toEqual(Array.from({ length: 100 }, (_, i) => `record ${i + 1}`));
    for (let i = 0; i < 3; i++)
      await expect(log.append([message('a', 'new', { id: 'new' })], 'fsync')).rejects.toMatchObject({
        code: 'log_full',
        message: expect.stringContaining('ENOSPC'),
      });
    // what is in the log already is acknowledged still: it needs no room
    expect(await log.append([message('a', '', { id: 'i7' })], 'fsync')).toMatchObject([{ offset: 7, duplicate: true }]);
    expect(log.status).toMatchObject({ state: 'full', pendingRecords: 0, pendingBytes: 0 });
    expect(await readEpochs(nodeDisk, data)).toEqual(before);

    await spaceBack(subject, mount);
    expect(kinds(subject).filter(kind => kind === 'space_back' || kind === 'full')).toEqual(['full', 'space_back']);
    // readiness is back, and the epoch is on disk although nothing was published
    expect((await readEpochs(nodeDisk, data))?.starts).toEqual([
      ...before!.starts,
      { epoch: log.epochOf(101), first: 101 },
    ]);
    expect(await log.append([message('a', 'new', { id: 'new' })], 'fsync')).toMatchObject([
      { offset: 101, duplicate: false },
    ]);
    await log.close();
    expect((await verify(data)).damages).toEqual([]);
  });

  test('after a kill takes the tail that no copy can be made of', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    await writeLog(data, 100, 'killed');
    mount.fill();
    const subject = await open(data);
    expect(kinds(subject)).toContain('tail_rewritten');
    expect(await readAllOf(subject.log, ['a'])).toHaveLength(100);
    await expect(subject.log.append([message('a')], 'fsync')).rejects.toMatchObject({ code: 'log_full' });
    await spaceBack(subject, mount);
    expect(await subject.log.append([message('a')], 'fsync')).toMatchObject([{ offset: 101 }]);
    await subject.log.close();
    expect(await verify(data)).toMatchObject({ records: 101, damages: [] });
    const again = await open(data);
    expect(await readAllOf(again.log, ['a'])).toHaveLength(101);
    await again.log.close();
  });

  test('leaves a torn tail where it is until there is room to keep it aside', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    await writeLog(data, 20, 'killed');
    const segment = path.join(data, fs.readdirSync(data).find(name => name.endsWith('.log'))!);
    const content = fs.readFileSync(segment);
    const torn = Buffer.from('half a frame');
    const end = content.length - [...content].reverse().findIndex(byte => byte !== 0) + 16;
    torn.copy(content, end);
    fs.writeFileSync(segment, content);
    mount.fill();
    const full = await open(data);
    expect(full.reports.find(report => report.kind === 'tail_left')).toMatchObject({ at: { offset: 21 } });
    expect(await readAllOf(full.log, ['a'])).toHaveLength(20);
    await spaceBack(full, mount);
    await full.log.append([message('a')], 'fsync');
    await full.log.close();
    expect(fs.readFileSync(segment).includes(torn)).toBe(true);
    expect((await verify(data)).damages).toEqual([]);

    const roomy = await open(data);
    expect(kinds(roomy)).toContain('tail_cut');
    expect(await readAllOf(roomy.log, ['a'])).toHaveLength(21);
    await roomy.log.close();
    const [kept] = fs.readdirSync(path.join(data, 'quarantine'));
    expect(fs.readFileSync(path.join(data, 'quarantine', kept!)).includes(torn)).toBe(true);
    expect(fs.readFileSync(segment).includes(torn)).toBe(false);
  });

  test('names damage as ever, and mends nothing without a copy', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    await writeLog(data, 100, 'killed');
    const segment = path.join(data, fs.readdirSync(data).find(name => name.endsWith('.log'))!);
    const content = fs.readFileSync(segment);
    content[content.indexOf('record 50')]! ^= 1;
    fs.writeFileSync(segment, content);
    mount.fill();
    const opening = (acceptLoss: boolean) =>
      openDiskLog({ directory: data, clock: new ManualClock(), segmentBytes: 64 * 1024, acceptLoss });
    const refused = await opening(false).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(LogDamaged);
    expect(refused).toMatchObject({
      damages: [{ segment: path.basename(segment), lost: { from: 50, to: 50 } }],
      message: expect.stringContaining('the disk has no room for copies'),
    });
    await expect(opening(true)).rejects.toThrow(/no room to keep a copy of .*: free some first/);
    expect(fs.readFileSync(segment).equals(content)).toBe(true);
    expect(fs.readdirSync(path.join(data, 'quarantine'))).toEqual([]);
    mount.free();
    const log = await opening(true);
    expect(log.head.offset).toBe(100);
    await log.close();
  });

  test('of a new log has its id and its first epoch once there is room', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    fs.mkdirSync(data);
    mount.fill();
    const subject = await open(data);
    await expect(subject.log.append([message('a')], 'written')).rejects.toMatchObject({ code: 'log_full' });
    await spaceBack(subject, mount);
    expect(await subject.log.append([message('a')], 'written')).toMatchObject([{ offset: 1 }]);
    const { id } = subject.log;
    await subject.log.close();
    const again = await open(data);
    expect(again.log.id).toBe(id);
    expect(again.log.head.offset).toBe(1);
    await again.log.close();
  });

  test('gives no epoch twice, whether its start was ever written down or not', async ctx => {
    using mount = smallFileSystem(ctx, '2m');
    const data = path.join(mount.directory, 'data');
    await writeLog(data, 5, 'closed');
    for (let round = 0; round < 3; round++) {
      mount.fill();
      for (let start = 0; start < 2; start++) await (await open(data)).log.close();
      const subject = await open(data);
      await spaceBack(subject, mount);
      const [result] = await subject.log.append([message('a')], 'fsync');
      expect(result).toMatchObject({ offset: 6 + round });
      await subject.log.close();
    }
    const { starts } = (await readEpochs(nodeDisk, data))!;
    expect(starts.map(start => start.first)).toEqual([1, 6, 7, 8]);
    const numbers = starts.map(start => start.epoch);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });
});

describe('what a start owes', () => {
  const options = { directory, segmentBytes: 16384 };

  /** A disk that has room for segments, and none for the file of epochs. */
  async function owing(): Promise<{ machine: SimulatedDisk; log: DiskLog; clock: ManualClock }> {
    const machine = await diskWith((await prepareLog(12, 'closed')).image);
    machine.fault = (operation, file) => {
      if (operation === 'write' && path.basename(file) === 'epochs.tmp') throw failure('ENOSPC', file);
    };
    const clock = new ManualClock();
    return { machine, log: await openDiskLog({ ...options, disk: machine.boot(), clock }), clock };
  }

  test('is on disk before the first append is acknowledged', async () => {
    const { machine, log, clock } = await owing();
    await expect(log.append([message('a')], 'written')).rejects.toMatchObject({ code: 'log_full' });
    expect(machine.files().filter(file => file.endsWith('.log'))).toHaveLength(1);
    machine.fault = undefined;
    // no timer has looked since: the append itself sees to it
    expect(await log.append([message('a')], 'fsync')).toMatchObject([{ offset: 37 }]);
    const epoch = log.epochOf(37);
    machine.cut();
    expect((await readEpochs(machine.boot(), directory))?.starts.at(-1)).toEqual({ epoch, first: 37 });
    const again = await openDiskLog({ ...options, disk: machine.boot(), clock });
    expect(again.head.offset).toBe(37);
    expect(again.endOf(epoch)).toBe(37);
    await again.close();
  });

  test('is not written by an owner that was replaced meanwhile', async () => {
    const { machine, log, clock } = await owing();
    const before = Buffer.from(machine.content(`${directory}/epochs`));
    machine.fault = undefined;
    machine.lost = true;
    clock.advance(500);
    await until('the log is fenced', () => log.status.state === 'fenced');
    expect(machine.content(`${directory}/epochs`).equals(before)).toBe(true);
    await expect(log.append([message('a')], 'fsync')).rejects.toMatchObject({ code: 'log_fenced' });
    await log.close();
  });

  test('another error than want of room fences the log', async () => {
    const { machine, log } = await owing();
    machine.fault = (operation, file) => {
      if (operation === 'sync' && path.basename(file) === 'epochs.tmp') throw failure('EIO', file);
    };
    await expect(log.append([message('a')], 'fsync')).rejects.toMatchObject({ code: 'outcome_unknown' });
    expect(log.status).toMatchObject({ state: 'fenced', reason: expect.stringContaining('EIO') });
    await log.close();
  });
});

test('a file whose only frame is torn makes room for the segment of its name, and stays', async () => {
  const { image } = await prepareLog(1, 'killed');
  const file = newestSegment(image);
  const content = Buffer.from(image.get(file)!);
  content[segmentHeaderBytes + 100]! ^= 1;
  const machine = await diskWith(new Map(image).set(file, content));
  machine.capacity = 0;
  const clock = new ManualClock();
  const log = await openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 16384 });
  expect(log.head.offset).toBe(0);
  expect(machine.content(`${file}.cut`).equals(content)).toBe(true);
  machine.capacity = Number.POSITIVE_INFINITY;
  clock.advance(1000);
  await until('space is back', () => log.status.state === 'open');
  expect(await log.append([message('a')], 'fsync')).toMatchObject([{ offset: 1 }]);
  expect(machine.files()).toContain(file);
  await log.close();
});

test('a start on a full disk that dies at any of its operations leaves everything to the next', async () => {
  const killed = await prepareLog(12, 'killed');
  const torn = new Map(killed.image);
  const file = newestSegment(torn);
  const content = Buffer.from(torn.get(file)!);
  content.write('half a frame', content.length - 100);
  torn.set(file, content);
  for (const image of [killed.image, torn]) {
    let total = 0;
    for (let at = 1; total === 0 || at <= total; at++) {
      const machine = await diskWith(image);
      machine.capacity = 0;
      const died = new Promise<undefined>(resolve => {
        machine.onOperation = count => {
          if (count < at) return;
          machine.onOperation = undefined;
          machine.cut();
          resolve(undefined);
        };
      });
      const opened = openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384 });
      const log = await Promise.race([opened, died]);
      if (log !== undefined) {
        expect(log.status.state).toBe('full');
        total = at;
        machine.onOperation = undefined;
        machine.cut();
      }
      machine.capacity = Number.POSITIVE_INFINITY;
      const again = await openDiskLog({
        directory,
        disk: machine.boot(),
        clock: new ManualClock(),
        segmentBytes: 16384,
      });
      expect((await readAllOf(again, ['#'])).map(textOf)).toEqual(killed.data);
      await again.close();
    }
    expect(total).toBeGreaterThan(15);
  }
});
