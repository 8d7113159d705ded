import * as fs from 'node:fs';
import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { writeDeletions } from '../../../src/log/disk/deletion/deletions-file.ts';
import { type DiskLog, openDiskLog, verify } from '../../../src/log/index.ts';
import { message, readAllOf, until } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { bystander, erased, fill, secret, simulated } from './deleted-log.ts';
import { directory, imageOf } from './prepared-log.ts';
import { failure, type SimulatedDisk } from './simulated-disk.ts';

/** Files in which the text stands. */
function filesWith(machine: SimulatedDisk, text: string): string[] {
  return [...imageOf(machine)].filter(([, content]) => content.includes(text)).map(([file]) => file);
}

async function offsetsOf(log: DiskLog, topic: string): Promise<number[]> {
  return (await readAllOf(log, [topic])).map(({ offset }) => offset);
}

describe('a topic deleted for good', () => {
  test('is in no file of the directory, whatever else would have kept it there', async () => {
    const data = temporaryDirectory();
    // all of it is in memory and in the window of de-duplication, the last of it in the segment that is written to
    const open = (): Promise<DiskLog> => openDiskLog({ directory: data, segmentBytes: 64 * 1024 });
    let log = await open();
    for (let i = 0; i < 20; i++) await fill(log, 50, i * 50);
    await log.close();
    log = await open();
    await fill(log, 50, 1000);
    fs.mkdirSync(path.join(data, 'quarantine'));
    fs.writeFileSync(path.join(data, 'quarantine', 'copy'), `gone ${secret}`);
    fs.writeFileSync(path.join(data, 'quarantine', 'other'), bystander);
    expect(grep(data, secret).length).toBeGreaterThan(3);
    await log.deleteTopic('gone');
    await until('no file holds it', () => log.status.deletionsPending === 0);
    expect(grep(data, secret)).toEqual([]);
    expect(fs.readdirSync(data)).not.toContain('deletions');
    expect(fs.readdirSync(path.join(data, 'quarantine'))).toEqual(['other']);
    expect((await readAllOf(log, ['#'])).map(({ topic }) => topic)).toEqual(Array(1050).fill('kept'));
    await log.close();
    expect(grep(data, secret)).toEqual([]);
    expect((await verify(data)).damages).toEqual([]);
    log = await open();
    expect(await log.droppedAfter(0, filterSet(['gone']))).toEqual({ records: 2099, deletions: 0 });
    expect(await log.append([message('gone', 'again', { id: `${secret} id 3` })], 'fsync')).toMatchObject([
      { offset: 2101, duplicate: false },
    ]);
    expect(await offsetsOf(log, 'gone')).toEqual([2101]);
    await log.close();
  });

  test('does not come back when the power is cut at any step, once the deletion was answered', async () => {
    let answered = 0;
    let unanswered = 0;
    for (let cutAt = 1; cutAt < 400; cutAt++) {
      const { machine, clock, open } = simulated(cutAt);
      let log = await open();
      await fill(log, 14);
      await log.close();
      log = await open();
      await fill(log, 6, 14);
      let dead = false;
      let left = cutAt;
      machine.onOperation = () => {
        if (--left > 0) return;
        machine.onOperation = undefined;
        dead = true;
        machine.cut();
      };
      let deleted = false;
      const done = log.deleteTopic('gone').then(() => {
        deleted = true;
      });
      await until('it is done or dead', () => {
        clock.advance(50);
        return dead || (deleted && log.status.deletionsPending === 0);
      });
      if (!dead) {
        machine.onOperation = undefined;
        await done;
        await log.close();
        expect(cutAt).toBeGreaterThan(60);
        break;
      }
      if (deleted) answered++;
      else unanswered++;
      log = await open();
      const there = await offsetsOf(log, 'gone');
      if (deleted) expect(there).toEqual([]);
      else expect([0, 20]).toContain(there.length);
      expect(await offsetsOf(log, 'kept')).toHaveLength(20);
      expect((await log.droppedAfter(0, filterSet(['gone']))).records).toBe(there.length === 0 ? 39 : 0);
      await erased(log, clock);
      expect(await offsetsOf(log, 'gone')).toEqual(there);
      if (there.length === 0) expect(filesWith(machine, secret)).toEqual([]);
      await log.append([message('gone', 'again', { id: `${secret} id 3` })], 'fsync');
      expect(await offsetsOf(log, 'gone')).toHaveLength(there.length === 0 ? 1 : 20);
      await log.close();
      expect((await verify(directory, machine.boot())).damages).toEqual([]);
    }
    expect(answered).toBeGreaterThan(30);
    expect(unanswered).toBeGreaterThan(2);
  }, 60_000);

  test('goes from the segment that is written to although it never comes to rest', async () => {
    const { machine, clock, open } = simulated();
    const log = await open({ segmentBytes: 1 << 20 });
    await fill(log, 5);
    let stop = false;
    const publishing = Array.from({ length: 3 }, async () => {
      while (!stop) await log.append([message('busy', '.'.repeat(20))], 'fsync');
    });
    await log.deleteTopic('gone');
    await erased(log, clock);
    expect(filesWith(machine, secret)).toEqual([]);
    expect(log.status.bytes).toBeLessThan(1 << 20);
    stop = true;
    await Promise.all(publishing);
    await log.close();
  });

  test('is answered only when the disk holds the deletion', async () => {
    const { machine, clock, open } = simulated();
    const log = await open();
    await fill(log, 10);
    machine.fault = (operation, file) => {
      if (operation === 'write' && file.endsWith('deletions.tmp')) throw failure('ENOSPC', file);
    };
    await expect(log.deleteTopic('gone')).rejects.toMatchObject({ code: 'log_full' });
    expect(await offsetsOf(log, 'gone')).toHaveLength(10);
    machine.fault = undefined;
    await log.deleteTopic('gone');
    expect(await offsetsOf(log, 'gone')).toEqual([]);
    await erased(log, clock);
    await log.close();
  });

  test('waits, and says so, while the disk has no room to write segments anew', async () => {
    const reports: string[] = [];
    const { machine, clock, open } = simulated();
    const log = await open({ onReport: ({ kind }) => reports.push(kind) });
    await fill(log, 40);
    machine.fault = (operation, file) => {
      if (operation === 'write' && /\.0001\.log\.draft\.\d+\.tmp$/.test(file)) throw failure('ENOSPC', file);
    };
    await log.deleteTopic('gone');
    await until('it waits', () => reports.includes('deletion_waits'));
    expect(await offsetsOf(log, 'gone')).toEqual([]);
    expect(log.status.deletionsPending).toBe(1);
    machine.fault = undefined;
    clock.advance(5000);
    await erased(log, clock);
    expect(filesWith(machine, secret)).toEqual([]);
    expect(reports.filter(kind => kind === 'deletion_waits')).toHaveLength(1);
    expect(reports).toContain('deletion');
    await log.close();
    expect(clock.timers).toBe(0);
  });

  test('is in no draft of a segment that was to be written anew, failed and is gone', async () => {
    const { machine, clock, open } = simulated();
    const reports: string[] = [];
    const log = await open({ onReport: ({ kind }) => reports.push(kind) });
    await fill(log, 40);
    machine.fault = (operation, file) => {
      const ofDraft = /\.0001\.log\..*tmp$/.test(file);
      if (ofDraft && ['sync', 'unlink'].includes(operation)) throw failure('EIO', file);
    };
    await log.deleteTopic('gone');
    await until('it waits', () => reports.includes('deletion_waits'));
    await until('all records are gone', () => {
      clock.advance(50);
      void log.trim(log.head.offset);
      return log.status.bytes < 500;
    });
    machine.fault = undefined;
    await log.append([message('other', '')], 'fsync');
    await log.deleteTopic('kept');
    await erased(log, clock);
    expect(filesWith(machine, bystander)).toEqual([]);
    await log.close();
  });

  test('gives way to close, and the next start goes on with it', async () => {
    const { machine, clock, open } = simulated();
    let log = await open();
    await fill(log, 100);
    await log.deleteTopic('gone');
    await log.close();
    log = await open();
    expect(await offsetsOf(log, 'gone')).toEqual([]);
    await erased(log, clock);
    expect(filesWith(machine, secret)).toEqual([]);
    await log.close();
  });

  test('is in no checkpoint either when one was being written at that moment, and failed', async () => {
    const { machine, clock, open } = simulated();
    let log = await open();
    await fill(log, 20);
    await log.close();
    expect(filesWith(machine, `${secret} id`).some(file => file.endsWith('.dedupe'))).toBe(true);
    log = await open();
    let writing = false;
    machine.stall = (operation, file) => {
      if (operation !== 'open' || !file.endsWith('.dedupe.tmp')) return false;
      writing = true;
      return true;
    };
    for (let i = 20; !writing; i++) await fill(log, 1, i);
    await log.deleteTopic('gone');
    let failed = false;
    machine.fault = (operation, file) => {
      if (failed || operation !== 'write' || !file.endsWith('.dedupe.tmp')) return;
      failed = true;
      throw failure('ENOSPC', file);
    };
    machine.stall = undefined;
    machine.resume();
    await erased(log, clock);
    expect(failed).toBe(true);
    expect(filesWith(machine, secret)).toEqual([]);
    await log.close();
  });

  test('is done in a log of which it leaves no record', async () => {
    const { machine, clock, open } = simulated();
    let log = await open();
    for (let i = 0; i < 20; i++)
      await log.append([message('gone', `${secret} ${i}`, { id: `${secret} id ${i}` })], 'fsync');
    await log.close();
    log = await open();
    // the checkpoint is written only when there is no record left that it could stand behind
    machine.fault = (operation, file) => {
      if (operation === 'write' && file.endsWith('.dedupe.tmp')) throw failure('ENOSPC', file);
    };
    await log.deleteTopic('gone');
    await until('no record is left', () => filesWith(machine, secret).every(file => file.endsWith('.dedupe')));
    machine.fault = undefined;
    await erased(log, clock);
    expect(filesWith(machine, secret)).toEqual([]);
    await log.close();
  });

  test('takes nothing along that was published later at offsets which an accepted loss had given back', async () => {
    const { machine, clock, open } = simulated();
    let log = await open();
    await fill(log, 10);
    const { epoch } = log.head;
    await log.close();
    // the deletion is there, and the newest of what it deletes is not
    await writeDeletions(machine.boot(), directory, [{ topic: 'gone', upTo: 100, epoch }]);
    machine.fault = (operation, file) => {
      if (operation === 'write' && /\.0001\.log\.draft\.\d+\.tmp$/.test(file)) throw failure('ENOSPC', file);
    };
    log = await open();
    await fill(log, 10, 10);
    machine.kill();
    machine.fault = undefined;
    log = await open();
    await erased(log, clock);
    expect(await offsetsOf(log, 'gone')).toEqual(Array.from({ length: 10 }, (_, i) => 21 + 2 * i));
    await log.close();
  });

  test('readers in the middle of it go on, and are told once they come to what is gone', async () => {
    const { clock, open } = simulated();
    const log = await open({ hotBytes: 1 });
    await fill(log, 200);
    const set = filterSet(['#']);
    let deleted: Promise<unknown> | undefined;
    const got: number[] = [];
    let told = 0;
    for (let after = 0; after < log.head.offset; ) {
      if (after > 100) deleted ??= log.deleteTopic('gone').then(() => erased(log, clock));
      const slice = await log.read(after, log.head.offset, set, 1);
      expect(slice.after).toBe(after);
      got.push(...slice.records.map(({ offset }) => offset));
      if (slice.dropped.records > after) told = slice.dropped.records;
      after = slice.next;
    }
    await deleted;
    expect(told).toBe(399);
    expect(got.filter(offset => offset % 2 === 0)).toEqual(Array.from({ length: 200 }, (_, i) => 2 * (i + 1)));
    expect(got.filter(offset => offset % 2 === 1).length).toBeLessThan(200);
    await log.close();
  });

  test('several go together, and rules that keep less do not disturb', async () => {
    const { machine, clock, open } = simulated();
    const log = await open({
      hotBytes: 1,
      dedupe: { ids: 0, ageMs: 0 },
      keep: { rules: [{ filter: 't/#', last: 2 }] },
    });
    for (let i = 0; i < 200; i++) await log.append([message(`t/${i % 20}`, `${i % 20} ${secret}`)], 'fsync');
    const work: Promise<unknown>[] = [log.compact()];
    for (let t = 0; t < 15; t++) work.push(log.deleteTopic(`t/${t}`));
    work.push(log.compact());
    await Promise.all(work);
    await erased(log, clock);
    expect(filesWith(machine, `3 ${secret}`).length).toBe(filesWith(machine, `13 ${secret}`).length);
    for (let t = 0; t < 15; t++) expect(await offsetsOf(log, `t/${t}`)).toEqual([]);
    for (let t = 15; t < 20; t++) expect((await offsetsOf(log, `t/${t}`)).length).toBeGreaterThanOrEqual(2);
    await log.close();
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });
});

function grep(data: string, text: string): string[] {
  const files = fs.readdirSync(data, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  return files
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .filter(file => fs.readFileSync(file).includes(text));
}
