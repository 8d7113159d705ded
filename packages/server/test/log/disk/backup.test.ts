import * as fs from 'node:fs';
import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import {
  type BackupReport,
  backup,
  compact,
  type Disk,
  type DiskLog,
  type DiskLogOptions,
  openDiskLog,
  repair,
  restore,
  verify,
} from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, plain, readAllOf, until } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { failure } from './simulated-disk.ts';

const open = (directory: string, options: Partial<DiskLogOptions> = {}): Promise<DiskLog> =>
  openDiskLog({ directory, clock: new ManualClock(), segmentBytes: 8192, ...options });

async function fill(log: DiskLog, records: number, name = 'r'): Promise<void> {
  for (let i = 0; i < records; i++)
    await log.append([message(`t/${i % 3}`, `${name} ${i}`.padEnd(300, '.'), { id: `${name}${i}` })], 'fsync');
}

/** Every complete segment has its index. */
const sealed = (directory: string): Promise<void> =>
  until('segments are sealed', () => {
    const names = fs.readdirSync(directory);
    const segments = names.filter(name => name.endsWith('.log')).length;
    return names.filter(name => name.endsWith('.idx')).length === segments - 1;
  });

const take = (from: string, to: string, options: { disk?: Disk; verify?: boolean } = {}): Promise<BackupReport> =>
  backup(from, to, { now: 1_700_000_000_000, verify: true, ...options });

async function textsOf(directory: string): Promise<Record<string, unknown>[]> {
  const log = await open(directory, { segmentBytes: 1 << 20 });
  try {
    return (await readAllOf(log, ['#'])).map(plain);
  } finally {
    await log.close();
  }
}

/** A backup that can be restored, and what is in it then. */
async function restored(from: string): Promise<{ directory: string; records: Record<string, unknown>[] }> {
  const directory = path.join(temporaryDirectory(), 'restored');
  await restore(from, directory, { verify: true });
  return { directory, records: await textsOf(directory) };
}

/** A disk on which no segment can be written anew until it is let go. */
function diskWithoutRewrites(): { disk: Disk; hold: () => void; letGo: () => void } {
  let full = true;
  const disk: Disk = {
    ...nodeDisk,
    async open(file, mode) {
      if (full && mode === 'create' && /\.log\.draft\.\d+\.tmp$/.test(file)) throw failure('ENOSPC', file);
      return nodeDisk.open(file, mode);
    },
  };
  return {
    disk,
    hold: () => {
      full = true;
    },
    letGo: () => {
      full = false;
    },
  };
}

async function erased(log: DiskLog, clock: ManualClock): Promise<void> {
  await until('no file holds it', () => {
    clock.advance(50);
    return log.status.deletionsPending === 0;
  });
}

function filesWith(directory: string, text: string): string[] {
  return fs.readdirSync(directory).filter(name => fs.readFileSync(path.join(directory, name)).includes(text));
}

describe('a backup of a log in use', () => {
  test('has every record acknowledged before it, and a log restored from it begins a new epoch', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const log = await open(directory);
    await fill(log, 100);
    await sealed(directory);
    const report = await take(directory, to);
    expect(report).toMatchObject({ id: log.id, head: 100, verified: true, removed: 0, kept: 0 });
    expect(report.linked).toBeGreaterThan(4);
    const expected = (await readAllOf(log, ['#'])).map(plain);
    await fill(log, 50, 'later');
    const { directory: copy, records } = await restored(to);
    expect(records).toEqual(expected);
    const again = await open(copy);
    expect(again.id).toBe(log.id);
    expect(again.epochOf(101)).toBeGreaterThan(log.head.epoch);
    // a cursor of the original beyond the backup: the epoch it names ends here before it
    expect(again.endOf(log.head.epoch)).toBe(100);
    // repeated publishes are recognised as before
    for (const n of [0, 99])
      expect(await again.append([message('t/0', '', { id: `r${n}` })], 'fsync')).toMatchObject([
        { offset: n + 1, duplicate: true },
      ]);
    await again.close();
    await log.close();
    // what the restored server did reached neither the backup nor the original
    expect((await verify(to)).damages).toEqual([]);
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('again into the same place takes what is new and removes what retention removed', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const log = await open(directory);
    await fill(log, 100);
    await sealed(directory);
    const first = await take(directory, to);
    const nothing = await take(directory, to);
    // the newest segment, which may have grown, and what de-duplication knows are taken anew
    expect(nothing).toMatchObject({ head: 100, kept: first.linked + first.copied - 2, removed: 0 });
    expect(nothing.linked + nothing.copied).toBe(2);
    await log.trim(60);
    await fill(log, 40, 'new');
    await sealed(directory);
    const second = await take(directory, to);
    expect(second.head).toBe(140);
    expect(second.kept).toBeGreaterThan(2);
    expect(second.removed).toBeGreaterThan(2);
    const expected = (await readAllOf(log, ['#'])).map(plain);
    expect((await restored(to)).records).toEqual(expected);
    expect(fs.readdirSync(to).filter(name => name.endsWith('.tmp'))).toEqual([]);
    await log.close();
    await take(directory, to);
    expect((await restored(to)).records).toEqual(expected);
  });

  test('has a segment of which a rewrite left no record, with its marks', async () => {
    const data = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const log = await openDiskLog({ directory: data });
    await log.append([message('gone', '1')], 'fsync');
    await log.deleteTopic('gone');
    await until('it is rewritten', () => log.status.deletionsPending === 0);
    await log.append([message('kept', '2')], 'fsync');
    for (let i = 0; i < 2; i++) await backup(data, to, { now: 1, verify: true });
    await log.close();
    const { directory, records } = await restored(to);
    expect(records).toHaveLength(1);
    await using again = await openDiskLog({ directory });
    expect(again.head.offset).toBe(2);
    expect(await again.droppedAfter(0, filterSet(['gone']))).toEqual({ records: 1, deletions: 0 });
  });

  test('carries a deletion that is pending, and leaves what it deletes behind when it is done', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const { disk, letGo } = diskWithoutRewrites();
    const clock = new ManualClock();
    const log = await open(directory, { disk, clock });
    await fill(log, 60);
    await sealed(directory);
    await take(directory, to);
    await log.deleteTopic('t/1');
    const left = (await readAllOf(log, ['#'])).map(plain);
    expect(left).toHaveLength(40);
    // also over the backup before it, of which nearly everything stays
    expect((await take(directory, to)).kept).toBeGreaterThan(4);
    const { damages, notes } = await verify(to);
    expect(damages).toEqual([]);
    expect(notes).toContain('deletions: files may hold records of 1 deleted topics; a start goes on with it');
    expect((await restored(to)).records).toEqual(left);
    const { directory: copy } = await restored(to);
    const again = await open(copy, { clock });
    await erased(again, clock);
    expect((await readAllOf(again, ['#'])).map(plain)).toEqual(left);
    await again.close();
    expect(filesWith(copy, 'r 1.')).toEqual([]);
    letGo();
    await erased(log, clock);
    expect(filesWith(to, 'r 1.')).not.toEqual([]);
    expect((await take(directory, to)).removed).toBeGreaterThan(4);
    expect(filesWith(to, 'r 1.')).toEqual([]);
    expect(fs.readdirSync(to)).not.toContain('deletions');
    expect((await restored(to)).records).toEqual(left);
    await log.close();
  });

  test('knows a deletion that is done behind its back, and one that is asked for meanwhile', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const { disk, hold, letGo } = diskWithoutRewrites();
    const clock = new ManualClock();
    const log = await open(directory, { disk, clock });
    await log.append([message('once', 'gone')], 'fsync');
    await fill(log, 60);
    await sealed(directory);
    await log.deleteTopic('once');
    let left: Record<string, unknown>[] | undefined;
    const meanwhile: Disk = {
      ...nodeDisk,
      async link(from, name) {
        await nodeDisk.link(from, name);
        // the first segment is taken
        if (left !== undefined || !from.endsWith('.idx')) return;
        letGo();
        await erased(log, clock);
        hold();
        await log.deleteTopic('t/0');
        left = (await readAllOf(log, ['#'])).map(plain);
      },
    };
    await take(directory, to, { disk: meanwhile });
    expect(left).toHaveLength(40);
    expect((await restored(to)).records).toEqual(left);
    await log.close();
  });

  test('copies where no file can be shared', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const log = await open(directory);
    await fill(log, 60);
    await sealed(directory);
    const disk: Disk = {
      ...nodeDisk,
      link: () => Promise.reject(Object.assign(new Error('EXDEV: another file system'), { code: 'EXDEV' })),
    };
    expect(await take(directory, to, { disk })).toMatchObject({ linked: 0, head: 60 });
    const shared = fs.readdirSync(to).filter(name => fs.statSync(path.join(to, name)).nlink > 1);
    expect(shared).toEqual([]);
    const expected = (await readAllOf(log, ['#'])).map(plain);
    await log.close();
    expect((await restored(to)).records).toEqual(expected);
  });

  test('while records are appended, segments roll and retention removes', async () => {
    const directory = temporaryDirectory();
    const to = path.join(temporaryDirectory(), 'backup');
    const log = await open(directory);
    let stop = false;
    const writing = (async () => {
      for (let i = 0; !stop; i++) {
        await log.append([message('t', `${i}`.padEnd(200), { id: `${i}` })], i % 3 ? 'written' : 'fsync');
        if (i % 100 === 99) await log.trim(log.head.offset - 150);
      }
    })();
    await until('there are segments', () => log.head.offset > 200);
    for (let i = 0; i < 8; i++) {
      const { offset } = log.head;
      const { head } = await take(directory, to);
      expect(head).toBeGreaterThanOrEqual(offset);
      const { records } = await restored(to);
      expect(records.at(-1)).toMatchObject({ offset: head });
      const offsets = records.map(record => record.offset as number);
      expect(offsets).toEqual(offsets.map((_, n) => offsets[0]! + n));
      expect(offsets[0]).toBeLessThan(offset);
    }
    stop = true;
    await writing;
    await log.close();
  });
});

/** A disk on which everything stops at the n-th change, as when the process is killed. */
function dyingDisk(after: number): { disk: Disk; died: Promise<void> } {
  let left = after;
  let die: () => void;
  const died = new Promise<void>(resolve => {
    die = resolve;
  });
  const alive = <T>(task: () => Promise<T>): Promise<T> => {
    if (left-- > 0) return task();
    die();
    return new Promise(() => undefined);
  };
  const disk: Disk = {
    ...nodeDisk,
    async open(file, mode) {
      if (mode === 'read') return nodeDisk.open(file, mode);
      const real = await alive(() => nodeDisk.open(file, mode));
      return {
        read: (...args) => real.read(...args),
        write: (...args) => alive(() => real.write(...args)),
        sync: () => alive(() => real.sync()),
        truncate: length => real.truncate(length),
        size: () => real.size(),
        close: () => real.close(),
      };
    },
    link: (from, to) => alive(() => nodeDisk.link(from, to)),
    rename: (from, to) => alive(() => nodeDisk.rename(from, to)),
    unlink: file => alive(() => nodeDisk.unlink(file)),
  };
  return { disk, died };
}

async function refusedOffline(directory: string, why: RegExp): Promise<void> {
  const to = path.join(temporaryDirectory(), 'to');
  await expect(repair(directory)).rejects.toThrow(why);
  await expect(verify(directory)).rejects.toThrow(why);
  await expect(compact(directory, { keep: { rules: [] } })).rejects.toThrow(why);
  await expect(take(directory, to)).rejects.toThrow(why);
  expect(fs.existsSync(to)).toBe(false);
}

describe('a backup that is cut short', () => {
  test('at any step leaves the one before it, and the next run finishes it', { timeout: 60_000 }, async () => {
    const root = temporaryDirectory();
    const directory = path.join(root, 'data');
    const log = await open(directory);
    await fill(log, 60);
    await sealed(directory);
    const old = path.join(root, 'old');
    await take(directory, old);
    const before = (await readAllOf(log, ['#'])).map(plain);
    await log.trim(30);
    await fill(log, 40, 'new');
    await sealed(directory);
    const now = (await readAllOf(log, ['#'])).map(plain);
    await log.close();
    let finished = false;
    for (let step = 0; !finished; step++) {
      const to = path.join(root, `backup ${step}`);
      fs.mkdirSync(to);
      for (const name of fs.readdirSync(old)) fs.copyFileSync(path.join(old, name), path.join(to, name));
      const { disk, died } = dyingDisk(step);
      finished = await Promise.race([
        take(directory, to, { disk, verify: false }).then(() => true),
        died.then(() => false),
      ]);
      const { records } = await restored(to);
      if (finished) expect(records).toEqual(now);
      else expect([before.length, now.length]).toContain(records.length);
      if (records.length === before.length) expect(records).toEqual(before);
      await take(directory, to);
      expect((await restored(to)).records).toEqual(now);
      expect(fs.readdirSync(to).sort()).toEqual(fs.readdirSync(await finishedAtOnce()).sort());
      fs.rmSync(to, { recursive: true });
    }

    async function finishedAtOnce(): Promise<string> {
      const to = path.join(root, 'at once');
      if (!fs.existsSync(to)) await take(directory, to);
      return to;
    }
  });

  test('the first time is none, and says what to do', async () => {
    const root = temporaryDirectory();
    const directory = path.join(root, 'data');
    const log = await open(directory);
    await fill(log, 60);
    await sealed(directory);
    const to = path.join(root, 'backup');
    const { disk, died } = dyingDisk(12);
    await Promise.race([take(directory, to, { disk }), died]);
    expect(fs.readdirSync(to).some(name => name.endsWith('.log'))).toBe(true);
    await expect(restore(to, path.join(root, 'restored'), { verify: true })).rejects.toThrow(
      /no finished backup in .*run `tailrace log backup` to there again/,
    );
    expect(fs.existsSync(path.join(root, 'restored'))).toBe(false);
    const names = fs.readdirSync(to);
    const whatToDo = /is a backup that was cut short .* run `tailrace log backup <data> .*` again/;
    await expect(open(to)).rejects.toThrow(whatToDo);
    await refusedOffline(to, whatToDo);
    expect(fs.readdirSync(to)).toEqual(names);
    await take(directory, to);
    expect(fs.readdirSync(to)).not.toContain('unfinished');
    expect((await restored(to)).records).toHaveLength(60);
    await log.close();
  });

  test('a restore that is cut short is no log to a server', async () => {
    const root = temporaryDirectory();
    const log = await open(path.join(root, 'data'));
    await fill(log, 60);
    await sealed(path.join(root, 'data'));
    await log.close();
    await take(path.join(root, 'data'), path.join(root, 'backup'));
    for (let step = 1; ; step++) {
      const to = path.join(root, `restored ${step}`);
      const { disk, died } = dyingDisk(step);
      const done = restore(path.join(root, 'backup'), to, { disk, verify: false }).then(() => true);
      if (await Promise.race([done, died.then(() => false)])) break;
      const names = fs.readdirSync(to);
      if (!names.some(name => name.endsWith('.log'))) continue;
      if (!names.includes('unfinished')) {
        expect(await textsOf(to)).toHaveLength(60);
        continue;
      }
      const whatToDo = /restore to .* was cut short .* remove the directory and run `tailrace log restore/;
      await expect(open(to)).rejects.toThrow(whatToDo);
      await refusedOffline(to, whatToDo);
      await expect(restore(path.join(root, 'backup'), to, { verify: true })).rejects.toThrow(whatToDo);
      expect(fs.readdirSync(to)).toEqual(names);
    }
  });
});

describe('refused', () => {
  const twoLogs = async (): Promise<[string, string]> => {
    const directories: [string, string] = [temporaryDirectory(), temporaryDirectory()];
    for (const directory of directories) {
      const log = await open(directory);
      await fill(log, 30);
      await log.close();
    }
    return directories;
  };

  test('a backup into that of another log, or into a data directory', async () => {
    const [one, other] = await twoLogs();
    const to = path.join(temporaryDirectory(), 'backup');
    await take(one, to);
    await expect(take(other, to)).rejects.toThrow(/holds a backup of another log/);
    await expect(take(one, other)).rejects.toThrow(/a server has run on/);
    expect((await restored(to)).records).toHaveLength(30);
  });

  test('a backup of a restored copy in the place of that of the original, and the other way round', async () => {
    const [directory] = await twoLogs();
    const root = temporaryDirectory();
    const to = path.join(root, 'backup');
    await take(directory, to);
    const copies = ['copy', 'other'].map(name => path.join(root, name)) as [string, string];
    for (const copy of copies) await restore(to, copy, { verify: true });
    for (const of of copies) {
      const log = await open(of);
      await fill(log, 1, of);
      await log.close();
      await expect(take(of, to)).rejects.toThrow(
        new RegExp(
          `^${to} holds a backup of the original log, and ${of} is the copy \\w{8}, which was restored from ${to}: .* Choose another directory for ${of}, or remove ${to} if`,
        ),
      );
    }
    // the original goes on, and each copy in a place of its own
    await take(directory, to);
    const [copy, other] = copies;
    const ofCopy = path.join(root, 'of copy');
    for (let run = 0; run < 2; run++) expect(await take(copy, ofCopy)).toMatchObject({ head: 31 });
    for (const another of [directory, other])
      await expect(take(another, ofCopy)).rejects.toThrow(
        new RegExp(`holds a backup of the copy \\w{8}, which .*, and ${another} is the (original log|copy)`),
      );
    // what is restored from it is another one again
    const further = path.join(root, 'further');
    await restore(ofCopy, further, { verify: true });
    await expect(take(further, ofCopy)).rejects.toThrow(new RegExp(`which was restored from ${ofCopy}: `));
    expect((await restored(ofCopy)).records.at(-1)).toMatchObject({ offset: 31, id: `${copy}0` });
    // a backup of a backup stands for what that one is a backup of
    const second = path.join(root, 'second');
    await take(ofCopy, second);
    expect(await take(copy, second)).toMatchObject({ head: 31 });
    await expect(take(directory, second)).rejects.toThrow(/holds a backup of the copy \w{8}, which/);
    expect((await restored(to)).records).toHaveLength(30);
  });

  test('a backup from a log that was restored from an older one and went on, by versions without branches', async () => {
    const [directory] = await twoLogs();
    const root = temporaryDirectory();
    const to = path.join(root, 'backup');
    await take(directory, to);
    const branch = path.join(root, 'branch');
    await restore(to, branch, { verify: true });
    fs.unlinkSync(path.join(branch, 'branch'));
    for (const [of, clockAhead] of [
      [directory, 0],
      [branch, 5_000_000],
    ] as const) {
      const clock = new ManualClock();
      clock.wall += clockAhead;
      const log = await open(of, { clock });
      await fill(log, 10, of === branch ? 'branch' : 'original');
      await log.close();
    }
    await take(directory, to);
    await expect(take(branch, to)).rejects.toThrow(/from which the log in .*branch does not go on/);
    expect((await restored(to)).records.at(-1)).toMatchObject({ id: 'original9' });
  });

  test('a restore into a directory that is not empty', async () => {
    const [one, other] = await twoLogs();
    const to = path.join(temporaryDirectory(), 'backup');
    await take(one, to);
    await expect(restore(to, other, { verify: true })).rejects.toThrow(
      /holds a log already, .*: name a directory that/,
    );
    const notes = temporaryDirectory();
    fs.writeFileSync(path.join(notes, 'notes.txt'), '');
    await expect(restore(to, notes, { verify: true })).rejects.toThrow(/is not empty: it has notes.txt/);
  });

  test('a restore from what is no backup', async () => {
    const [one] = await twoLogs();
    const to = path.join(temporaryDirectory(), 'restored');
    await expect(restore(one, to, { verify: true })).rejects.toThrow(
      `${one} is the data directory of a server and no backup: make one of it by \`tailrace log backup ${one} <backup>\``,
    );
    const missing = path.join(temporaryDirectory(), 'missing');
    await expect(restore(missing, to, { verify: true })).rejects.toThrow(`there is no directory ${missing}`);
    expect(fs.existsSync(to)).toBe(false);
  });

  test('not a checkpoint of de-duplication that is damaged: it is left out', async () => {
    const [directory] = await twoLogs();
    const to = path.join(temporaryDirectory(), 'backup');
    const checkpoint = fs.readdirSync(directory).find(name => name.endsWith('.dedupe'))!;
    fs.truncateSync(path.join(directory, checkpoint), 70);
    expect((await verify(directory)).damages).toMatchObject([{ segment: checkpoint }]);
    expect(await take(directory, to)).toMatchObject({ head: 30 });
    expect(fs.readdirSync(to)).not.toContain(checkpoint);
    expect((await restored(to)).records).toHaveLength(30);
  });

  test('a backup of damaged bytes, and the one before it stays', async () => {
    const [directory] = await twoLogs();
    const root = temporaryDirectory();
    const to = path.join(root, 'backup');
    // on another file system: damage of the log does not reach it
    const disk: Disk = {
      ...nodeDisk,
      link: () => Promise.reject(Object.assign(new Error('EXDEV'), { code: 'EXDEV' })),
    };
    await take(directory, to, { disk });
    const log = await open(directory);
    await fill(log, 40, 'more');
    await log.close();
    const segment = fs
      .readdirSync(directory)
      .filter(name => name.endsWith('.log'))
      .sort()
      .at(-2)!;
    const bytes = fs.readFileSync(path.join(directory, segment));
    bytes[4000]! ^= 1;
    fs.writeFileSync(path.join(directory, segment), bytes);
    await expect(take(directory, to, { disk })).rejects.toThrow(new RegExp(`damaged: segment ${segment}`));
    expect((await restored(to)).records).toHaveLength(30);
  });
});
