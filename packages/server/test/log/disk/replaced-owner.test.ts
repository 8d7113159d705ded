import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../../src/log/disk/files/disk.ts';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import { openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { diskWith, prepareLog, directory as simulated, textOf } from './prepared-log.ts';
import { failure, SimulatedDisk } from './simulated-disk.ts';

/** The real disk, whose owner learns that it was replaced only after `late` more looks. */
class SlowOwner {
  late = 0;
  readonly disk: Disk = {
    ...nodeDisk,
    own: async directory => {
      const real = await nodeDisk.own(directory);
      return { ...real, lost: () => real.lost() && this.late-- <= 0 };
    },
  };
}

const options = { segmentBytes: 16384, hotBytes: 1 };

describe('an owner that was replaced and does not know it yet', () => {
  test.each([
    ['a batch that it was about to write', 100],
    ['a segment that it was about to begin', 16_300],
  ])('does no harm by %s', async (_, bytes) => {
    const directory = temporaryDirectory();
    const slow = new SlowOwner();
    const first = await openDiskLog({ directory, disk: slow.disk, ...options });
    for (const data of ['1', '2', '3']) await first.append([message('a', data)], 'fsync');
    // a file system where the new owner cannot reach the socket of the old one
    fs.rmSync(path.join(directory, 'owner.sock'));
    const second = await openDiskLog({ directory, ...options });
    await second.append([message('a', '4')], 'fsync');

    // it has just looked, and does what it was about to do
    slow.late = 1;
    const lost = Array.from({ length: 3 }, (_, i) => first.append([message('a', `lost ${i}`.padEnd(bytes))], 'fsync'));
    for (const append of lost) await expect(append).rejects.toMatchObject({ code: 'outcome_unknown' });
    expect(first.status.state).toBe('fenced');
    await first.close();

    // more than one segment, so that the new owner needs the file it has prepared
    const data = ['1', '2', '3', '4', ...Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(1000))];
    for (const text of data.slice(4)) await second.append([message('a', text)], 'fsync');
    expect((await readAllOf(second, ['a'])).map(textOf)).toEqual(data);
    await second.close();
    const third = await openDiskLog({ directory, ...options });
    expect((await readAllOf(third, ['a'])).map(textOf)).toEqual(data);
    await third.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('removes nothing by retention', async () => {
    const directory = temporaryDirectory();
    const first = await openDiskLog({ directory, ...options });
    const text = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(1000));
    for (const data of text) await first.append([message('a', data)], 'fsync');
    fs.rmSync(path.join(directory, 'owner.sock'));
    const second = await openDiskLog({ directory, ...options });
    await expect(first.trim(first.head.offset)).rejects.toThrow('another process has taken over');
    await first.close();
    expect((await readAllOf(second, ['a'])).map(textOf)).toEqual(text);
    await second.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('cuts nothing by a recovery that it had begun', async () => {
    const directory = temporaryDirectory();
    const before = await openDiskLog({ directory, ...options });
    for (const data of ['1', '2', '3']) await before.append([message('a', data)], 'fsync');
    const copy = temporaryDirectory();
    fs.cpSync(directory, copy, { recursive: true, filter: file => !file.endsWith('.sock') });
    await before.close();
    // what a crash leaves: bytes behind the last frame, to be cut at the next start
    const segment = path.join(
      copy,
      fs
        .readdirSync(copy)
        .filter(name => name.endsWith('.log'))
        .sort()
        .at(-1)!,
    );
    const bytes = fs.readFileSync(segment);
    const replaced: Disk = {
      ...nodeDisk,
      own: async directory => ({ ...(await nodeDisk.own(directory)), lost: () => true }),
    };
    await expect(openDiskLog({ directory: copy, disk: replaced, ...options })).rejects.toThrow(
      'another process has taken over',
    );
    expect(fs.readFileSync(segment)).toEqual(bytes);
  });
});

/** From `lose` on another process owns the directory, and every name that is made, moved or removed there is noted. */
class Takeover {
  readonly machine: SimulatedDisk;
  readonly changes: string[] = [];
  #names: readonly string[] = [];

  constructor(machine: SimulatedDisk = new SimulatedDisk(new SeededRandom(1))) {
    this.machine = machine;
    machine.onOperation = () => {
      if (machine.lost && machine.files().join() !== this.#names.join()) this.#note('names changed');
    };
    machine.fault = (operation, file) => {
      if (machine.lost && ['link', 'rename', 'unlink', 'truncate'].includes(operation)) this.#note(operation, file);
    };
  }

  lose(): void {
    this.#names = this.machine.files();
    this.machine.lost = true;
  }

  #note(what: string, file = ''): void {
    this.changes.push(`${what} ${file} at operation ${this.machine.operations}`);
  }
}

/** All that an owner does beside its readers: segments begin, are sealed, written down, rewritten, and removed. */
async function liveAndClose(takeover: Takeover): Promise<void> {
  const log = await openDiskLog({
    directory: simulated,
    disk: takeover.machine.boot(),
    clock: new ManualClock(),
    segmentBytes: 2048,
    hotBytes: 1,
    dedupe: { ids: 0, ageMs: 0 },
    keep: { rules: [{ filter: 'a', last: 3 }] },
  });
  try {
    for (let i = 0; i < 40; i++) await log.append([message('a', '.'.repeat(100), { id: `${i}` })], 'fsync');
    await log.compact();
    await log.trim(20);
  } catch (error) {
    if (!takeover.machine.lost) throw error;
  }
  await log.close();
}

test('an owner that is replaced at any operation changes no name from there on', async () => {
  const whole = new Takeover();
  await liveAndClose(whole);
  const { operations } = whole.machine;
  let opened = 0;
  for (let at = 1; at <= operations; at++) {
    const takeover = new Takeover();
    const { onOperation } = takeover.machine;
    takeover.machine.onOperation = count => {
      if (count === at) takeover.lose();
      else onOperation!(count);
    };
    await liveAndClose(takeover).then(
      () => opened++,
      error => expect(String(error)).toContain('another process has taken over'),
    );
    expect(takeover.changes, `replaced at operation ${at} of ${operations}`).toEqual([]);
  }
  expect(opened).toBeGreaterThan(operations / 2);
});

test('an owner that is replaced while the disk is full does not write its start down when there is room', async () => {
  const { image } = await prepareLog(3, 'closed');
  const machine = await diskWith(image);
  const takeover = new Takeover(machine);
  const { fault } = machine;
  machine.fault = (operation, file) => {
    if (operation === 'write' && file.endsWith('epochs.tmp')) throw failure('ENOSPC', file);
  };
  const clock = new ManualClock();
  const log = await openDiskLog({ directory: simulated, disk: machine.boot(), clock, segmentBytes: 16384 });
  expect(log.status.state).toBe('full');
  machine.fault = fault;
  takeover.lose();
  clock.advance(500);
  await until('the log is fenced', () => log.status.state === 'fenced');
  await log.close();
  expect(takeover.changes).toEqual([]);
});
