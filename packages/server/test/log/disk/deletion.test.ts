import * as fs from 'node:fs';
import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { writeDeletions } from '../../../src/log/disk/deletion/deletions-file.ts';
import type { Disk, DiskFile } from '../../../src/log/disk/files/disk.ts';
import {
  type DiskLog,
  type DiskLogOptions,
  type LogReport,
  openDiskLog,
  repair,
  verify,
} from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { directory, imageOf } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const secret = 'do-not-keep-this';
const bystander = 'this-one-stays';

interface SimulatedLog {
  readonly machine: SimulatedDisk;
  readonly clock: ManualClock;
  open(options?: Partial<DiskLogOptions>): Promise<DiskLog>;
}

function simulated(seed = 1): SimulatedLog {
  const machine = new SimulatedDisk(new SeededRandom(seed));
  const clock = new ManualClock();
  return {
    machine,
    clock,
    open: (options = {}) => openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 2048, ...options }),
  };
}

async function fill(log: DiskLog, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++)
    await log.append(
      [message('gone', `${secret} ${i}`, { id: `${secret} id ${i}` }), message('kept', `${bystander} ${i}`)],
      'fsync',
    );
}

/** Files in which the text stands. */
function filesWith(machine: SimulatedDisk, text: string): string[] {
  return [...imageOf(machine)].filter(([, content]) => content.includes(text)).map(([file]) => file);
}

async function erased(log: DiskLog, clock: ManualClock): Promise<void> {
  await until('no file holds it', () => {
    clock.advance(50);
    return log.status.deletionsPending === 0;
  });
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

/** Nothing that is deleted leaves the files, so that the deletions stay pending. */
function holdBack(machine: SimulatedDisk): void {
  machine.fault = (operation, file) => {
    if (operation === 'write' && /\.draft\.\d+\.tmp$/.test(file)) throw failure('ENOSPC', file);
  };
}

describe('the file of what is pending', () => {
  /** A log of topics `t/0` to `t/<topics − 1>`, one record each, in a segment that is complete. */
  async function subject(topics: number, seed = 1): Promise<SimulatedLog & { readonly log: DiskLog }> {
    const stage = simulated(seed);
    let log = await stage.open({ segmentBytes: 1 << 20 });
    await log.append(
      Array.from({ length: topics }, (_, i) => message(`t/${i}`, secret)),
      'fsync',
    );
    await log.close();
    log = await stage.open({ segmentBytes: 1 << 20 });
    holdBack(stage.machine);
    return { ...stage, log };
  }

  const topicsLeft = async (log: DiskLog): Promise<string[]> =>
    (await readAllOf(log, ['t/#'])).map(({ topic }) => topic);
  const file = `${directory}/deletions`;

  test('grows by a line for each topic, also when thousands are pending', async () => {
    const topics = 2000;
    const { machine, log: first } = await subject(topics);
    await first.close();
    let written = 0;
    const log = await openDiskLog({
      directory,
      disk: counting(machine.boot(), /\/deletions/, bytes => (written += bytes)),
      clock: new ManualClock(),
    });
    for (let i = 0; i < topics; i++) await log.deleteTopic(`t/${i}`);
    expect(log.status.deletionsPending).toBe(topics);
    expect(machine.content(file).toString().split('\n')).toHaveLength(topics + 1);
    expect(written).toBe(machine.content(file).length);
    await log.close();
  });

  test('has what was answered, and at most the one that was not, when the power is cut while it grows', async () => {
    // the lines lie across the sectors of the file, so that one of them can be torn
    const long = `t/${'x'.repeat(450)}`;
    let cuts = 0;
    let taken = 0;
    for (let cutAt = 1; cutAt < 60; cutAt++) {
      const { machine, open, log } = await subject(4, cutAt);
      await log.append([message(long, secret)], 'fsync');
      for (let i = 0; i < 3; i++) await log.deleteTopic(`t/${i}`);
      let left = cutAt;
      let dead = false;
      machine.onOperation = () => {
        if (--left > 0) return;
        machine.onOperation = undefined;
        dead = true;
        machine.cut();
      };
      let deleted = false;
      void log.deleteTopic(long).then(() => {
        deleted = true;
      });
      await until('it is done or dead', () => dead || deleted);
      if (!dead) {
        machine.onOperation = undefined;
        machine.kill();
      }
      const again = await open({ segmentBytes: 1 << 20 });
      const topics = await topicsLeft(again);
      if (deleted) expect(topics).toEqual(['t/3']);
      else if (topics.length === 1) taken++;
      else expect(topics).toEqual(['t/3', long]);
      // and it goes on growing from there
      await again.deleteTopic('t/3');
      expect(await topicsLeft(again)).toEqual(topics.filter(topic => topic !== 't/3'));
      await again.close();
      if (!dead) break;
      cuts++;
    }
    expect(cuts).toBeGreaterThan(3);
    expect(taken).toBeLessThan(cuts);
  });

  test('is synced before what a killed process left in it is answered', async () => {
    for (let seed = 1; seed < 30; seed++) {
      const { machine, open, log } = await subject(2, seed);
      await log.deleteTopic('t/0');
      machine.stall = (operation, name) => operation === 'sync' && /\/deletions/.test(name);
      void log.deleteTopic('t/1');
      await until('its line is written', () => machine.stalled > 0);
      machine.kill();
      machine.stall = undefined;
      const again = await open();
      await again.deleteTopic('t/1');
      machine.cut();
      const third = await open();
      expect(await topicsLeft(third)).toEqual([]);
      await third.close();
    }
  });

  test('holds nothing of a deletion for which there was no room', async () => {
    const { machine, open, log } = await subject(3);
    await log.deleteTopic('t/0');
    const before = machine.content(file);
    const capacity = machine.usedBytes + 10;
    machine.capacity = capacity;
    await expect(log.deleteTopic('t/1')).rejects.toMatchObject({ code: 'log_full' });
    expect(machine.content(file).equals(before)).toBe(true);
    machine.capacity = Number.POSITIVE_INFINITY;
    await log.deleteTopic('t/2');
    machine.kill();
    const again = await open();
    expect(await topicsLeft(again)).toEqual(['t/1']);
    await again.close();
  });

  test('cut in its last line is told once, since that deletion may have been answered', async () => {
    for (const cut of [1, 2, 10, 1000]) {
      const { machine, open, log } = await subject(4);
      for (let i = 0; i < 3; i++) await log.deleteTopic(`t/${i}`);
      machine.kill();
      const content = Buffer.from(machine.content(file));
      const line = content.lastIndexOf('\n', content.length - 2) + 1;
      // a file that has grown is zero where nothing was written
      const left = cut === 1000 ? Buffer.from(content).fill(0, line) : content.subarray(0, content.length - cut);
      machine.replace(file, left);
      const { notes } = await verify(directory, machine.boot());
      const reports: LogReport[] = [];
      for (let start = 0; start < 2; start++) {
        const again = await open({ segmentBytes: 1 << 20, onReport: report => void reports.push(report) });
        // only its end is missing: it says all that it said
        expect(await topicsLeft(again)).toEqual(cut === 1 ? ['t/3'] : ['t/2', 't/3']);
        await again.close();
      }
      const told = reports.filter(({ kind }) => kind === 'deletion_torn');
      const expected =
        cut === 1
          ? []
          : [expect.stringMatching(cut === 1000 ? /nothing of it.*delete that topic/ : /t\/2.*delete that/)];
      expect(told.map(({ message }) => message)).toEqual(expected);
      for (const { level } of told) expect(level).toBe('warn');
      expect(notes.filter(note => note.includes('torn'))).toEqual(expected);
    }
  });

  test('damaged keeps the log from starting, which says what to do; `log repair` goes on with what can be read', async () => {
    const { machine, clock, open, log } = await subject(4);
    for (let i = 0; i < 3; i++) await log.deleteTopic(`t/${i}`);
    machine.kill();
    const damaged = Buffer.from(machine.content(file));
    const at = damaged.indexOf('t/1');
    damaged[at + 2] = 'y'.charCodeAt(0);
    machine.replace(file, damaged);
    await expect(open()).rejects.toThrow(
      /deletions, .*, is damaged: 1 of its 3 lines fail their checksum.*tailrace log repair/,
    );
    expect((await verify(directory, machine.boot())).damages).toMatchObject([{ segment: 'deletions' }]);

    const { after, steps } = await repair(directory, machine.boot());
    expect(after.damages).toEqual([]);
    const told = steps.join('\n');
    expect(told).toContain('is kept as quarantine/deletions: goes on deleting "t/0", "t/2"');
    expect(told).toMatch(/may be back: delete those again that stood in its damaged lines: .*t\/y/);
    expect(machine.content(`${directory}/quarantine/deletions`).equals(damaged)).toBe(true);
    machine.fault = undefined;
    const again = await open();
    expect(await topicsLeft(again)).toEqual(['t/1', 't/3']);
    await again.deleteTopic('t/1');
    await erased(again, clock);
    expect(await topicsLeft(again)).toEqual(['t/3']);
    await again.close();
    // it names topics, and holds nothing of them
    expect(machine.content(`${directory}/quarantine/deletions`).equals(damaged)).toBe(true);
  });

  test('damaged as a whole is kept aside, and the log starts without it', async () => {
    const { machine, open, log } = await subject(2);
    await log.deleteTopic('t/0');
    machine.kill();
    machine.replace(file, Buffer.from('{"topics":[["t/0",1,1]]}\n00000000\n'));
    await expect(open()).rejects.toThrow(/2 of its 2 lines fail/);
    const { after, steps } = await repair(directory, machine.boot());
    expect(after.damages).toEqual([]);
    expect(steps.join('\n')).toContain('no topic in it can be read');
    expect(machine.files()).not.toContain(file);
    const again = await open();
    expect(await topicsLeft(again)).toEqual(['t/0', 't/1']);
    await again.close();
  });

  test('that the disk cannot read is told in the same way, and kept aside for who can', async () => {
    const { machine, open, log } = await subject(2);
    await log.deleteTopic('t/0');
    machine.kill();
    const content = machine.content(file);
    machine.fault = (operation, name) => {
      if (operation === 'read' && name === file) throw failure('EIO', name);
    };
    await expect(open()).rejects.toThrow(
      /deletions, .*, is damaged: the disk cannot read it \(EIO\).*tailrace log repair/,
    );
    const { after, steps } = await repair(directory, machine.boot());
    expect(after.damages).toEqual([]);
    expect(steps.join('\n')).toContain('may be back: delete those again that stood in it');
    expect(machine.content(`${directory}/quarantine/deletions`)).toBe(content);
    const again = await open();
    expect(await topicsLeft(again)).toEqual(['t/0', 't/1']);
    await again.close();
  });
});

/** A disk that says how many bytes are written to files of such names. */
function counting(disk: Disk, name: RegExp, count: (bytes: number) => void): Disk {
  const counted = (file: DiskFile): DiskFile => ({
    read: (...of) => file.read(...of),
    write: (...of) => {
      count(of[2]);
      return file.write(...of);
    },
    sync: () => file.sync(),
    truncate: length => file.truncate(length),
    size: () => file.size(),
    close: () => file.close(),
  });
  return {
    open: async (path, mode) => {
      const file = await disk.open(path, mode);
      return name.test(path) ? counted(file) : file;
    },
    link: (...of) => disk.link(...of),
    rename: (...of) => disk.rename(...of),
    unlink: file => disk.unlink(file),
    list: of => disk.list(of),
    makeDirectory: file => disk.makeDirectory(file),
    syncDirectory: file => disk.syncDirectory(file),
    free: file => disk.free(file),
    own: (...of) => disk.own(...of),
  };
}

function grep(data: string, text: string): string[] {
  const files = fs.readdirSync(data, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  return files
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .filter(file => fs.readFileSync(file).includes(text));
}
