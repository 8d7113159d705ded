import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DiskLog, type DiskLogOptions, type LogReport, openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

const segmentBytes = 16 * 1024;

async function fill(log: DiskLog, records = 300): Promise<void> {
  for (let i = 0; i < records; i++) await log.append([message('t', `${i}`.padEnd(400, '.'))], 'fsync');
}

/** Flips a bit where nobody reads: behind the hot tail, and no reader asks. */
function flip(file: string, position: number): void {
  const fd = fs.openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, position);
  fs.writeSync(fd, Buffer.of(byte[0]! ^ 0x10), 0, 1, position);
  fs.closeSync(fd);
}

describe('a log that is re-read in the background', () => {
  test.each([
    ['a record', 5000],
    ['the header of the segment', 40],
  ])('reports a byte flipped in %s although no reader asks for it', async (what, position) => {
    const directory = temporaryDirectory();
    const clock = new ManualClock();
    const reports: LogReport[] = [];
    const scrub = { intervalMs: 60_000, bytesPerSecond: 1 << 20 };
    const log = await openDiskLog({
      directory,
      clock,
      segmentBytes,
      scrub,
      onReport: report => void reports.push(report),
    });
    await fill(log);
    const [, , segment] = fs
      .readdirSync(directory)
      .filter(name => name.endsWith('.log'))
      .sort();
    flip(path.join(directory, segment!), position);
    await until('it is found', () => {
      clock.advance(250);
      return reports.some(({ kind }) => kind === 'scrub');
    });
    const found = reports.find(({ kind }) => kind === 'scrub')!;
    const damages = (await verify(directory)).damages.filter(damage => damage.segment === segment);
    expect(found).toMatchObject({
      level: 'error',
      at: { segment, position: damages[0]!.position, offset: damages[0]!.offset },
      message: expect.stringMatching(/tailrace log verify.*tailrace log repair/),
    });
    if (what === 'a record') expect(found.at).toMatchObject({ frame: damages[0]!.frame });
    expect(log.status.scrub.damages).toBe(1);
    // it goes on behind it, to the end
    await until('the whole log is read', () => {
      clock.advance(250);
      return log.status.scrub.progress > 0.8;
    });
    await log.close();
  });

  test('reports a segment that the disk cannot read', async () => {
    const machine = new SimulatedDisk(new SeededRandom(7));
    const clock = new ManualClock();
    const reports: LogReport[] = [];
    const log = await openDiskLog({
      directory: '/simulated',
      disk: machine.boot(),
      clock,
      segmentBytes,
      scrub: { intervalMs: 60_000, bytesPerSecond: 1 << 20 },
      onReport: report => void reports.push(report),
    });
    await fill(log);
    const [, , segment] = machine.files().filter(file => file.endsWith('.log'));
    machine.fault = (operation, file) => {
      if (operation === 'read' && file === segment) throw failure('EIO', file);
    };
    await until('it is found', () => {
      clock.advance(250);
      return log.status.scrub.damages > 0;
    });
    expect(reports.find(({ kind }) => kind === 'scrub')).toMatchObject({
      at: { segment: path.basename(segment!), position: 0 },
      message: expect.stringContaining('the disk cannot read it (EIO)'),
    });
    await log.close();
  });

  test('reads the whole log in its interval, and not much faster', async () => {
    const clock = new ManualClock();
    const log = await openDiskLog({
      directory: temporaryDirectory(),
      clock,
      segmentBytes,
      scrub: { intervalMs: 100_000, bytesPerSecond: 1 << 20 },
    });
    await fill(log, 600);
    const { bytes } = log.status;
    let seconds = 0;
    let read = 0;
    await until('the log is read once', () => {
      clock.advance(250);
      seconds += 0.25;
      // what was read may be ahead of the pace by one segment, the unit of a file as small as here
      if (log.status.scrub.bytes > read)
        expect(log.status.scrub.bytes).toBeLessThan((bytes * seconds) / 100 + 2 * segmentBytes);
      read = log.status.scrub.bytes;
      return read > bytes * 0.8;
    });
    expect(seconds).toBeGreaterThan(60);
    await log.close();
  });
});

describe('beside commits', () => {
  test('one read at a time, and one a tick while records wait for the disk', async () => {
    const machine = new SimulatedDisk(new SeededRandom(7));
    const clock = new ManualClock();
    const options: DiskLogOptions = { directory: '/simulated', disk: machine.boot(), clock, segmentBytes: 256 * 1024 };
    const log = await openDiskLog({ ...options, scrub: { intervalMs: 100, bytesPerSecond: 1 << 30 } });
    for (let i = 0; i < 40; i++) await log.append([message('t', '.'.repeat(60_000))], 'fsync');
    let inFlight = 0;
    let most = 0;
    machine.stall = (operation, file) => {
      if (operation !== 'read' || !file.endsWith('.log')) return operation === 'sync';
      inFlight++;
      most = Math.max(most, inFlight);
      setImmediate(() => inFlight--);
      return false;
    };
    const waiting = log.append([message('t')], 'fsync');
    await until('the commit waits for its sync', () => machine.stalled > 0);
    const before = log.status.scrub.bytes;
    for (let tick = 0; tick < 10; tick++) {
      clock.advance(250);
      for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve));
    }
    const beside = log.status.scrub.bytes - before;
    expect(beside).toBeGreaterThan(0);
    // a frame of this log is read at once, at most two of them a chunk
    expect(beside).toBeLessThanOrEqual(11 * 128 * 1024);
    machine.resume();
    await waiting;
    clock.advance(250);
    await until('it is faster alone', () => log.status.scrub.bytes - before - beside > 11 * 128 * 1024);
    expect(most).toBe(1);
    await log.close();
  });
});
