import { filterSet } from '@tailrace/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { frameHeaderBytes } from '../../../src/log/disk/segment/frame.ts';
import { recordLength, recordOffset } from '../../../src/log/disk/segment/record-codec.ts';
import { type ScannedFrame, scanSegment } from '../../../src/log/disk/segment/scan.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../../../src/log/disk/segment/segment-header.ts';
import { describeDamage, LogDamaged, openDiskLog, repair, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import {
  baseName,
  directory,
  diskWith,
  type Image,
  imageOf,
  newestSegment,
  type PreparedLog,
  prepareLog,
  reopen,
  textOf,
} from './prepared-log.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

let killed: PreparedLog;
let closed: PreparedLog;
/** Frames of the only segment of `killed`, and the file. */
let frames: readonly ScannedFrame[];
let file: string;

beforeAll(async () => {
  killed = await prepareLog(12, 'killed');
  closed = await prepareLog(12, 'closed');
  file = newestSegment(killed.image);
  const content = killed.image.get(file)!;
  frames = scanSegment(content, decodeSegmentHeader(content) as SegmentHeader).frames;
});

/** The image with one file changed. */
function changed(image: Image, name: string, change: (content: Buffer) => Buffer): Image {
  return new Map(
    [...image].map(([other, content]) => [other, other === name ? change(Buffer.from(content)) : content]),
  );
}

/** Opens it; what can be read must be a beginning of what was written. Says how many records, or 'refused'. */
async function outcome(image: Image, truth: readonly string[]): Promise<number | 'refused'> {
  try {
    const { records } = await reopen(image);
    records.forEach((record, i) => {
      if (record.offset !== i + 1 || textOf(record) !== truth[i])
        throw new Error(`offset ${record.offset} holds ${textOf(record)} instead of ${truth[i]}`);
    });
    return records.length;
  } catch (error) {
    if (error instanceof LogDamaged || /checksum|header/.test(String(error))) return 'refused';
    throw error;
  }
}

describe('a tail that a crash left', () => {
  test('is cut at every byte of the last frame: everything before it stays', async () => {
    const last = frames[frames.length - 1]!;
    for (let length = last.position; length < last.position + last.length; length++) {
      const image = changed(killed.image, file, content => content.fill(0, length));
      // the last bytes may be zero anyway: padding
      const whole = killed.image
        .get(file)!
        .subarray(length, last.position + last.length)
        .every(byte => byte === 0);
      expect(await outcome(image, killed.data)).toBe(whole ? 36 : 33);
    }
    const cut = changed(killed.image, file, content => content.subarray(0, last.position + 70));
    const { reports, records, machine } = await reopen(cut);
    expect(records).toHaveLength(33);
    expect(reports.find(report => report.kind === 'tail_cut')).toMatchObject({
      level: 'warn',
      at: { segment: baseName(file), frame: frames.length - 1, position: last.position, offset: 34 },
    });
    const kept = machine.files().find(name => name.includes('quarantine') && name.endsWith('.cut'))!;
    // bytes behind the last that is not zero are none
    const written = killed.image.get(file)!.subarray(last.position, last.position + 70);
    expect(written.subarray(0, machine.content(kept).length)).toEqual(machine.content(kept));
  });

  test('truncated inside what was synced before is corruption, at every byte of the frame before the last', async () => {
    const before = frames[frames.length - 2]!;
    const last = frames[frames.length - 1]!;
    for (let at = before.position; at < last.position; at += 3) {
      const image = changed(killed.image, file, content => content.fill(0, at, last.position));
      const padding = at > before.position + before.length - 8;
      expect(['refused', padding ? 36 : 'refused']).toContain(await outcome(image, killed.data));
    }
  });

  test('what was not known to be synced is copied into a segment of its own, and the old file is cut', async () => {
    const { reports, records, machine } = await reopen(killed.image);
    expect(records).toHaveLength(36);
    expect(reports.find(report => report.kind === 'tail_copied')).toMatchObject({ at: { offset: 34 } });
    const last = frames[frames.length - 1]!;
    expect(machine.content(file)).toHaveLength(last.position);
    expect(
      machine
        .files()
        .filter(name => name.endsWith('.log'))
        .map(baseName),
    ).toEqual(['0000000000000001.0000.log', '0000000000000034.0000.log']);
  });

  test('a log that was closed is taken as it is', async () => {
    const { reports, records, machine } = await reopen(closed.image);
    expect(records.map(textOf)).toEqual(closed.data);
    expect(reports.map(report => report.kind)).toEqual(['recovered']);
    expect([...machine.files()]).toEqual([...closed.image.keys()].sort());
  });

  test('a recovery that dies at any of its operations is finished by the next', async () => {
    const machine = await diskWith(killed.image);
    let total = 0;
    for (let at = 1; total === 0 || at <= total; at++) {
      const machine = await diskWith(killed.image);
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
        total = at;
        machine.kill();
      }
      expect(await outcome(imageOf(machine), killed.data)).toBe(36);
    }
    expect(total).toBeGreaterThan(20);
    expect(machine.operations).toBeGreaterThan(0);
  });

  test('stays where it is as long as a power cut may take the name of its copy', async () => {
    for (let seed = 1; seed < 30; seed++) {
      const machine = await diskWith(killed.image, seed);
      const open = () =>
        openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384 });
      machine.stall = operation => operation === 'syncDirectory';
      void open();
      await until('the copy has its name', () => machine.stalled > 0);
      machine.kill();
      machine.stall = undefined;
      // what a start writes down of itself syncs the names too: this one has no room for it
      machine.capacity = 0;
      expect((await open()).head.offset).toBe(36);
      machine.cut();
      machine.capacity = Number.POSITIVE_INFINITY;
      expect(await outcome(imageOf(machine), killed.data)).toBe(36);
    }
  });

  test('is kept aside for good although a start that did so before was killed in the middle', async () => {
    const last = frames[frames.length - 1]!;
    const torn = changed(killed.image, file, content => content.fill(0, last.position + 70));
    for (let seed = 1; seed < 30; seed++) {
      const machine = await diskWith(torn, seed);
      const open = () =>
        openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384 });
      machine.stall = operation => operation === 'sync';
      void open();
      await until('the tail is written to its copy', () => machine.stalled > 0);
      machine.kill();
      machine.stall = undefined;
      await open();
      machine.cut();
      const [kept, ...others] = machine.files().filter(name => name.endsWith('.cut'));
      expect(others).toEqual([]);
      const written = torn.get(file)!.subarray(last.position, last.position + 70);
      expect(machine.content(kept!)).toEqual(written.subarray(0, machine.content(kept!).length));
      expect(machine.content(kept!).length).toBeGreaterThan(60);
    }
  });

  test('is kept by a start that loses power anywhere, behind one that was killed anywhere', {
    timeout: 120_000,
  }, async () => {
    /** Resolves at the end of a start, or of the process at one of its operations: then it says true. */
    const start = (machine: SimulatedDisk, at: number, end: 'kill' | 'cut'): Promise<boolean> => {
      const died = new Promise<boolean>(resolve => {
        machine.onOperation = count => {
          if (count < at) return;
          machine.onOperation = undefined;
          machine[end]();
          resolve(true);
        };
      });
      const opened = openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384 });
      return Promise.race([opened.then(() => false), died]);
    };
    let histories = 0;
    for (let first = 1, dies = true; dies; first++) {
      for (let second = 1, diesToo = true; diesToo; second++) {
        const machine = await diskWith(killed.image, histories++);
        dies = await start(machine, first, 'kill');
        diesToo = await start(machine, second, 'cut');
        if (!diesToo) machine.cut();
        expect(await outcome(imageOf(machine), killed.data), `killed at ${first}, cut at ${second}`).toBe(36);
      }
    }
    expect(histories).toBeGreaterThan(400);
  });
});

describe('damage', () => {
  test('a single bit flipped anywhere never gives wrong data: cut, refused, or named by verify', async () => {
    const random = new SeededRandom(7);
    const counts = { whole: 0, cut: 0, refused: 0, named: 0 };
    const several = await prepareLog(200, 'closed');
    for (const prepared of [killed, closed, several]) {
      const all = prepared.data.length;
      for (const [name, content] of prepared.image) {
        const dense = prepared === several ? 0 : 4000;
        for (let at = 0; at < content.length; at += 1 + random.below(at < dense ? 5 : 500)) {
          const image = changed(prepared.image, name, bytes => {
            bytes[at]! ^= 1 << random.below(8);
            return bytes;
          });
          const got = await outcome(image, prepared.data);
          if (got === 'refused') counts.refused++;
          else if (got === all) {
            counts.whole++;
            if (prepared === killed || name.endsWith('.tmp')) continue;
            // a sealed log starts without being read: verify must find what the start did not
            const machine = await diskWith(image);
            const { damages } = await verify(directory, machine.boot());
            if (damages.length > 0) counts.named++;
            else throw new Error(`bit at ${at} of ${name} is found by nobody`);
          } else {
            // only what was never known to be synced may go
            if (prepared !== killed || got < 33) throw new Error(`bit at ${at} of ${name} left ${got} records`);
            counts.cut++;
          }
        }
      }
    }
    expect(counts.cut).toBeGreaterThan(5);
    expect(counts.refused).toBeGreaterThan(50);
    expect(counts.named).toBeGreaterThan(50);
  });

  test('a zeroed sector anywhere never gives wrong data', async () => {
    for (const prepared of [killed, closed]) {
      const name = newestSegment(prepared.image);
      const { length } = prepared.image.get(name)!;
      for (let at = 0; at < Math.min(length, 6000); at += 512) {
        const image = changed(prepared.image, name, bytes => bytes.fill(0, at, Math.min(at + 512, length)));
        const got = await outcome(image, prepared.data);
        if (got === 'refused') continue;
        // with the last frame goes the word that the one before it was synced: nobody can tell any more
        const last = frames[frames.length - 1]!.position;
        expect(got).toBeGreaterThanOrEqual(prepared === closed ? 36 : at + 512 > last ? 30 : 36);
      }
    }
  });

  test('swapped frames are refused', async () => {
    // frames of the same length in the middle
    const [a, b] = [frames[4]!, frames[5]!];
    expect(a.length).toBe(b.length);
    const image = changed(killed.image, file, bytes => {
      const first = Buffer.from(bytes.subarray(a.position, a.position + a.length));
      bytes.copy(bytes, a.position, b.position, b.position + b.length);
      first.copy(bytes, b.position);
      return bytes;
    });
    expect(await outcome(image, killed.data)).toBe('refused');
  });

  test('frames of an older segment behind the end do not pass', async () => {
    const end = frames[frames.length - 1]!.position + frames[frames.length - 1]!.length;
    const other = await prepareLog(12, 'killed', { random: new SeededRandom(99) });
    const foreign = other.image.get(newestSegment(other.image))!;
    for (const source of [killed.image.get(file)!, foreign]) {
      const recycled = Buffer.from(source.subarray(frames[0]!.position, frames[6]!.position));
      const image = changed(killed.image, file, bytes => {
        recycled.copy(bytes, end);
        return bytes;
      });
      expect(await outcome(image, killed.data)).toBe(36);
    }
  });

  test('a payload that looks like a frame is only a payload', async () => {
    const machine = await diskWith(new Map());
    const clock = new ManualClock();
    const log = await openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 16384 });
    const forged = killed.image.get(file)!.subarray(frames[0]!.position, frames[8]!.position);
    await log.append(
      [message('a', '1'), message('a', Buffer.concat([Buffer.alloc(5), forged])), message('a', '2')],
      'fsync',
    );
    await log.append([message('a', '3')], 'fsync');
    machine.kill();
    const { records } = await reopen(imageOf(machine));
    expect(records.map(record => record.data.length)).toEqual([1, forged.length + 5, 1, 1]);
  });

  test('is named by segment, frame, position and offset; nothing is changed but a copy is kept', async () => {
    const bad = frames[5]!;
    const image = changed(killed.image, file, bytes => {
      bytes[bad.position + frameHeaderBytes + 40]! ^= 4;
      return bytes;
    });
    const machine = await diskWith(image);
    const opening = openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384 });
    const error = await opening.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(LogDamaged);
    const { damages, message } = error as LogDamaged;
    expect(damages).toMatchObject([
      { segment: baseName(file), frame: 5, position: bad.position, offset: 16, lost: { from: 16, to: 18 } },
    ]);
    expect(message).toContain('--accept-loss');
    const [damage] = (await verify(directory, machine.boot())).damages;
    expect(describeDamage(damage!)).toContain(`frame 5, position ${bad.position}, offset 16`);
    // the other two records of the frame are whole, and a repair keeps them
    expect(damage!.lost).toEqual({ from: 16, to: 16 });
    expect(Buffer.compare(machine.content(file), image.get(file)!)).toBe(0);
    expect(machine.files().some(name => name.includes('quarantine'))).toBe(true);
  });

  test('with loss accepted the log goes on around the hole, tells it, and starts again without asking', async () => {
    const bad = frames[5]!;
    const image = changed(killed.image, file, bytes => bytes.fill(7, bad.position, bad.position + bad.length));
    const machine = await diskWith(image);
    const open = (acceptLoss: boolean) => {
      const disk = machine.boot();
      return openDiskLog({ directory, disk, clock: new ManualClock(), segmentBytes: 16384, acceptLoss, hotBytes: 1 });
    };
    let log = await open(true);
    for (let start = 0; start < 2; start++) {
      expect(log.head.offset).toBe(36 + start);
      const before = await log.read(0, 36, filterSet(['#']), 1e6);
      expect(before).toMatchObject({ after: 0, next: 15 });
      expect(before.records.map(textOf)).toEqual(killed.data.slice(0, 15));
      const after = await log.read(15, 36, filterSet(['#']), 1e6);
      expect(after).toMatchObject({ after: 18, records: [], next: 18 });
      expect((await log.read(18, 36, filterSet(['#']), 1e6)).records.map(textOf)).toEqual(killed.data.slice(18));
      expect(await log.append([message('new', `${start}`)], 'fsync')).toMatchObject([{ offset: 37 + start }]);
      await log.close();
      if (start === 0) log = await open(false);
    }
    expect((await verify(directory, machine.boot())).damages).toEqual([]);
  });

  test('repair brings back what can be saved from a closed log, a lost identity and lost epochs', async () => {
    const name = newestSegment(closed.image);
    const bad = frames[3]!;
    const image = new Map(changed(closed.image, name, bytes => bytes.fill(9, bad.position + 80, bad.position + 90)));
    image.delete(`${directory}/log.json`);
    image.set(`${directory}/epochs`, Buffer.from('nonsense'));
    const machine = await diskWith(image);
    const report = await repair(directory, machine.boot());
    expect(report.before.damages.map(damage => damage.segment)).toEqual(
      expect.arrayContaining(['log.json', 'epochs', baseName(name)]),
    );
    expect(report.after.damages).toEqual([]);
    // of the three records of the frame one is damaged
    expect(report.after.records).toBe(35);
    const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock() });
    expect((await log.read(10, 36, filterSet(['#']), 1e6)).records.map(textOf)).toEqual(closed.data.slice(10));
    await log.close();
  });

  test('repair leaves out the records that damage touches, and keeps every other one', async () => {
    const random = new SeededRandom(3);
    const content = killed.image.get(file)!;
    const header = decodeSegmentHeader(content) as SegmentHeader;
    // where each record stands; the last frame may be a tail that was never synced
    const records = frames.slice(0, -2).flatMap(frame => {
      let at = frame.position + frameHeaderBytes;
      return Array.from({ length: frame.count }, () => {
        const record = {
          at,
          end: at + recordLength(content, at),
          offset: recordOffset(content, at, header.firstOffset),
        };
        at = record.end;
        return record;
      });
    });
    for (let round = 0; round < 25; round++) {
      const from = Math.floor(header.framesAt + random.next() * (records.at(-1)!.end - header.framesAt));
      const to = Math.min(from + 1 + Math.floor(random.next() ** 3 * 400), records.at(-1)!.end);
      const image = changed(killed.image, file, bytes => {
        for (let at = from; at < to; at++) bytes[at]! ^= 1 + Math.floor(random.next() * 255);
        return bytes;
      });
      const machine = await diskWith(image);
      const { after } = await repair(directory, machine.boot());
      expect(after.damages).toEqual([]);
      const expected = killed.data.filter(
        (_, i) => !records.some(({ at, end, offset }) => offset === i + 1 && from < end && to > at),
      );
      const log = await openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), hotBytes: 1 });
      const found: string[] = [];
      for (let at = 0; at < log.head.offset; ) {
        const slice = await log.read(at, log.head.offset, filterSet(['#']), 1e6);
        found.push(...slice.records.map(textOf));
        for (const record of slice.records) expect(textOf(record)).toBe(killed.data[record.offset - 1]);
        at = Math.max(slice.next, at + 1);
      }
      expect([round, from, to, found]).toEqual([round, from, to, expected]);
      await log.close();
    }
  });

  test('with the loss of the newest records accepted, reading ends and offsets are not given out again', async () => {
    const many = await prepareLog(200, 'closed');
    const { machine } = await reopen(many.image);
    await machine.boot().unlink(
      machine
        .files()
        .filter(name => name.endsWith('.log'))
        .at(-1)!,
    );
    const open = (acceptLoss: boolean) =>
      openDiskLog({ directory, disk: machine.boot(), clock: new ManualClock(), segmentBytes: 16384, acceptLoss });
    await expect(open(false)).rejects.toMatchObject({ damages: [{ lost: { to: 600 } }] });
    const log = await open(true);
    const slice = await log.read(0, 600, filterSet(['#']), 1e9);
    expect(slice.next).toBeLessThan(600);
    expect(slice.records).toHaveLength(slice.next);
    expect(await log.read(slice.next, 600, filterSet(['#']), 1e9)).toMatchObject({
      after: 600,
      records: [],
      next: 600,
    });
    expect(await log.append([message('a')], 'fsync')).toMatchObject([{ offset: 601 }]);
    await log.close();
    await (await open(false)).close();
  });

  test('a missing segment is told', async () => {
    const many = await prepareLog(400, 'closed');
    const segments = [...many.image.keys()].filter(name => name.endsWith('.log')).sort();
    expect(segments.length).toBeGreaterThan(3);
    for (const gone of [segments[1]!, segments.at(-1)!]) {
      const image = new Map(many.image);
      image.delete(gone);
      const next = await prepareAgain(image);
      expect(next).toBe(gone === segments[1] ? 'refused' : 'fewer');
    }
  });
});

/** Without its newest segment a log cannot be told from one that never had it, until a start has written its epoch. */
async function prepareAgain(image: Image): Promise<string> {
  try {
    const { records } = await reopen(image);
    return records.length === 1200 ? 'whole' : 'fewer';
  } catch (error) {
    if (error instanceof LogDamaged) return 'refused';
    throw error;
  }
}
