import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { type DiskLog, type DiskLogOptions, type LogReport, openDiskLog } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, offsetOf, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { smallFileSystem } from '../small-file-system.ts';
import { directory } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

interface Subject {
  readonly log: DiskLog;
  readonly machine: SimulatedDisk;
  readonly clock: ManualClock;
  readonly reports: LogReport[];
}

async function open(options: Partial<DiskLogOptions> = {}): Promise<Subject> {
  const machine = new SimulatedDisk(new SeededRandom(3));
  const clock = new ManualClock();
  const reports: LogReport[] = [];
  const onReport = (report: LogReport) => void reports.push(report);
  const log = await openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 8192, onReport, ...options });
  return { log, machine, clock, reports };
}

describe('a full disk', () => {
  test('refuses whole appends, fences nothing, and takes them again by itself when space is back', async () => {
    const { log, machine, clock, reports } = await open();
    await log.append([message('a', 'first')], 'fsync');
    await until('the segment is filled', () => machine.usedBytes >= 8192);
    machine.capacity = machine.usedBytes + 1000;
    const kept: number[] = [1];
    let refused = 0;
    for (let i = 0; i < 60; i++) {
      const [result] = await log.append([message('a', 'x'.repeat(400), { id: `i${i}` })], 'fsync').catch(error => {
        expect(error).toMatchObject({ code: 'log_full' });
        refused++;
        return [undefined];
      });
      if (result !== undefined) kept.push(offsetOf(result));
    }
    expect(refused).toBeGreaterThan(20);
    // what was refused took no offset and is no duplicate later
    expect(kept).toEqual(kept.map((_, i) => i + 1));
    expect(log.status).toMatchObject({ state: 'full', pendingBytes: 0, pendingRecords: 0 });
    expect(log.status.reason).toContain('ENOSPC');
    expect((await readAllOf(log, ['a'])).length).toBe(kept.length);
    expect(reports.map(report => report.kind)).toContain('full');

    machine.capacity = Number.POSITIVE_INFINITY;
    clock.advance(1000);
    await until('space is back', () => reports.some(report => report.kind === 'space_back'));
    expect(log.status.state).toBe('open');
    const again = await log.append([message('a', 'again', { id: 'i59' })], 'fsync');
    expect(again).toMatchObject([{ offset: kept.length + 1, duplicate: false }]);
    machine.kill();
    const recovered = await openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 8192 });
    expect(recovered.head.offset).toBe(kept.length + 1);
    await recovered.close();
  });

  test('keeps of an array what an earlier write committed, and names the error of the rest', async () => {
    const { log, machine } = await open({ segmentBytes: 4096 });
    await log.append([message('a')], 'fsync');
    await until('the segment is filled', () => machine.usedBytes >= 4096);
    machine.capacity = machine.usedBytes;
    const results = await log.append(
      Array.from({ length: 20 }, () => message('a', 'x'.repeat(500))),
      'fsync',
    );
    const kept = results.filter(result => !('error' in result)).length;
    expect(kept).toBeGreaterThan(2);
    expect(results).toHaveLength(kept + 1);
    expect(results.at(-1)).toMatchObject({ error: { code: 'log_full' } });
    expect(log.head.offset).toBe(1 + kept);
  });

  test('on a real file system: refuses, reads on, and resumes without being opened again', async ctx => {
    using mount = smallFileSystem(ctx, '3m');
    const clock = new ManualClock();
    const data = path.join(mount.directory, 'data');
    await using log = await openDiskLog({ directory: data, clock, segmentBytes: 512 * 1024, hotBytes: 1 });
    let taken = 0;
    const publish = async (): Promise<void> => {
      await log.append([message('a', 'x'.repeat(1000))], 'fsync');
      taken++;
    };
    while (taken < 500) await publish();
    mount.fill();
    let error: unknown;
    while (error === undefined && taken < 100_000)
      await publish().catch((caught: unknown) => {
        error = caught;
      });
    expect(error).toMatchObject({ code: 'log_full' });
    expect(log.status.state).toBe('full');
    expect((await readAllOf(log, ['a'], 0, taken, 100_000)).length).toBe(taken);
    mount.free();
    clock.advance(1000);
    await until('space is back', () => log.status.state === 'open');
    await publish();
    expect(log.head.offset).toBe(taken);
  });
});

describe('a failing disk', () => {
  test.each(['sync', 'write'] as const)(
    'an error of %s fences the log: unknown, then refused; reads go on',
    async operation => {
      const { log, machine, reports } = await open({ hotBytes: 1 });
      await log.append([message('a', '1')], 'fsync');
      await log.append([message('a', '2')], 'fsync');
      await until('the files are filled', () => machine.usedBytes >= 8192);
      let syncs = 0;
      machine.fault = (op, file) => {
        if (op !== operation || !file.endsWith('.tmp')) return;
        syncs++;
        if (syncs === 1) throw failure('EIO', file);
      };
      const pending = [log.append([message('a', '3')], 'fsync'), log.append([message('a', '4')], 'written')];
      for (const append of pending) await expect(append).rejects.toMatchObject({ code: 'outcome_unknown' });
      expect(log.status).toMatchObject({ state: 'fenced', pendingBytes: 0, pendingRecords: 0 });
      expect(log.status.reason).toContain('EIO');
      await expect(log.append([message('a', '5')], 'fsync')).rejects.toMatchObject({ code: 'log_fenced' });
      // a second sync of the same data would say yes and mean nothing
      expect(syncs).toBe(1);
      expect(log.head.offset).toBe(2);
      expect(await readAllOf(log, ['a'])).toHaveLength(2);
      expect(reports.filter(report => report.kind === 'fenced')).toHaveLength(1);
      await log.close();
      // no index vouches for what the failed sync may have lost
      expect(machine.files().filter(file => file.endsWith('.idx'))).toEqual([]);

      machine.cut();
      const recovered = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 8192 });
      expect(recovered.head.offset).toBeGreaterThanOrEqual(2);
      expect((await readAllOf(recovered, ['a'])).length).toBe(recovered.head.offset);
      expect(await recovered.append([message('a', '6')], 'fsync')).toMatchObject([{ duplicate: false }]);
      await recovered.close();
    },
  );

  test.each([
    ['with room for a copy', Number.POSITIVE_INFINITY],
    ['on a full disk', 0],
  ])('what a failed sync left in the page cache is on disk before it is served: %s', async (_, capacity) => {
    const { log, machine } = await open();
    for (let i = 0; i < 20; i++) await log.append([message('a', 'x'.repeat(100))], 'fsync');
    await until('the files are filled', () => machine.usedBytes >= 8192);
    machine.fault = (operation, file) => {
      if (operation === 'sync' && file.endsWith('.tmp')) throw failure('EIO', file);
    };
    await expect(log.append([message('a', 'x'.repeat(2000))], 'fsync')).rejects.toMatchObject({
      code: 'outcome_unknown',
    });
    machine.fault = undefined;
    machine.kill();
    machine.capacity = capacity;
    const again = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 8192 });
    // it can be read, and no sync of the file as it is would write it
    expect(again.head.offset).toBe(21);
    machine.cut();
    machine.capacity = Number.POSITIVE_INFINITY;
    const recovered = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 8192 });
    expect(await readAllOf(recovered, ['a'])).toHaveLength(21);
    await recovered.close();
  });

  test('a mark whose sync failed is on disk before the next segment names it', async () => {
    const { log, machine, clock } = await open();
    await log.append([message('a', 'x'.repeat(1000))], 'fsync');
    await until('the segment is filled', () => machine.usedBytes >= 8192);
    machine.fault = (operation, file) => {
      if (operation === 'sync' && file.endsWith('.tmp')) throw failure('EIO', file);
    };
    await until('an idle log marks what is durable', () => {
      clock.advance(500);
      return log.status.state === 'fenced';
    });
    machine.fault = undefined;
    machine.kill();
    const again = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 8192 });
    await again.append([message('a')], 'fsync');
    // an index would say how the segment ends: it never gets that far
    for (const index of machine.files().filter(file => file.endsWith('.idx'))) await machine.boot().unlink(index);
    machine.cut();
    const recovered = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 8192 });
    expect(recovered.head.offset).toBe(2);
    await recovered.close();
  });

  test('an owner that was replaced acks nothing more', async () => {
    const { log, machine } = await open();
    await log.append([message('a', '1')], 'fsync');
    machine.lost = true;
    await expect(log.append([message('a', '2')], 'fsync')).rejects.toMatchObject({ code: 'outcome_unknown' });
    await expect(log.append([message('a', '3')], 'fsync')).rejects.toMatchObject({ code: 'log_fenced' });
    expect(log.head.offset).toBe(1);
  });

  test('a damaged index is built anew from the segment, damaged records are never served', async () => {
    const { log, machine } = await open({ hotBytes: 1, segmentBytes: 4096 });
    for (let i = 0; i < 40; i++) await log.append([message(`t/${i % 3}`, 'x'.repeat(200))], 'fsync');
    await log.close();
    machine.kill();
    const [index, segment] = ['.idx', '.log'].map(end => machine.files().find(file => file.endsWith(end))!);
    machine.content(index!)[20]! ^= 255;
    const reports: LogReport[] = [];
    const onReport = (report: LogReport) => void reports.push(report);
    const again = await openDiskLog({ directory, disk: machine.boot(), segmentBytes: 4096, hotBytes: 1, onReport });
    expect((await readAllOf(again, ['t/1'])).length).toBe(13);
    expect(reports.map(report => report.kind)).toContain('index_rebuilt');
    const at = machine.content(segment!).indexOf('xxxx');
    machine.content(segment!)[at]! ^= 1;
    for (const filter of ['t/+', 't/0'])
      await expect(again.read(0, 40, filterSet([filter]), 1e6)).rejects.toThrow(/fails its checksum/);
    await again.close();
  });
});
