import { describe, expect, test } from 'vitest';
import type { Disk, DiskFile } from '../../../src/log/disk/files/disk.ts';
import { type DiskLog, type LogReport, openDiskLog, repair, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { erased, type SimulatedLog, secret, simulated } from './deleted-log.ts';
import { directory } from './prepared-log.ts';
import { failure, type SimulatedDisk } from './simulated-disk.ts';

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
