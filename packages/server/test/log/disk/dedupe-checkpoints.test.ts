import type { Message } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { Dedupe } from '../../../src/log/dedupe.ts';
import { type DiskLog, type DiskLogOptions, type LogReport, openDiskLog } from '../../../src/log/index.ts';
import { tooOld, unseen } from '../../../src/log/producer.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf, until } from '../messages.ts';
import { firstSeed, SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from './simulated-disk.ts';

const directory = '/simulated';

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** A log that is opened, crashed and opened again, beside a memory that saw every record there is. */
class History {
  readonly machine: SimulatedDisk;
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly dedupe: NonNullable<DiskLogOptions['dedupe']>;
  readonly reports: LogReport[] = [];
  /** Starts that found a checkpoint. */
  found = 0;
  #sequence = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.machine = new SimulatedDisk(this.random);
    const { random } = this;
    this.dedupe = {
      ids: random.pick([5, 40]),
      ageMs: random.pick([0, 2000]),
      limit: random.pick([5, 60]),
      producers: random.pick([2, 20]),
    };
  }

  async run(): Promise<void> {
    for (let start = 0; start < 5; start++) {
      const log = await this.#open();
      const memory = await this.#memoryOf(log);
      expect(log.memory).toMatchObject({ ids: memory.idCount, producers: memory.producerCount });
      for (let i = 0; i < 60; i++) await this.#probe(log, memory);
      expect(log.memory).toMatchObject({ ids: memory.idCount, producers: memory.producerCount });
      await this.#end(log);
    }
  }

  #open(): Promise<DiskLog> {
    if (this.machine.files().some(file => file.endsWith('.dedupe'))) this.found++;
    return openDiskLog({
      directory,
      disk: this.machine.boot(),
      clock: this.clock,
      random: this.random,
      segmentBytes: 4096,
      dedupe: this.dedupe,
      onReport: report => void this.reports.push(report),
    });
  }

  async #memoryOf(log: DiskLog): Promise<Dedupe> {
    const memory = new Dedupe(this.dedupe);
    for (const record of await readAllOf(log, ['#'])) {
      memory.add(record, record.offset, record.time);
      memory.commit(record.offset);
    }
    return memory;
  }

  /** The log takes, recognises and refuses what the memory says. */
  async #probe(log: DiskLog, memory: Dedupe): Promise<void> {
    const sent = this.#message();
    const expected = memory.find(sent);
    this.clock.advance(this.random.below(100));
    const [result] = await log.append([sent], this.random.chance(0.5) ? 'fsync' : 'written');
    if (expected === tooOld) expect(result).toMatchObject({ error: { code: 'sequence_too_old' } });
    else if (expected === unseen) {
      expect(result).toMatchObject({ offset: log.head.offset, duplicate: false });
      memory.add(sent, log.head.offset, log.head.time);
      memory.commit(log.head.offset);
    } else expect(result).toEqual({ offset: expected, time: memory.foundTime, duplicate: true });
  }

  #message(): Message {
    const { random } = this;
    const data = '.'.repeat(random.below(300));
    const id = random.chance(0.6) ? { id: `${random.below(100)}` } : {};
    this.#sequence += random.pick([0, 1, 1, 7, 500]);
    const sequence = Math.max(0, this.#sequence - random.pick([0, 0, 1, 5, 900, 1500]));
    const by = random.chance(0.3) ? { by: 'someone' } : {};
    const producer = random.chance(0.5) ? { producer: `p${random.below(5)}`, sequence, ...by } : {};
    return message(`t/${random.below(3)}`, data, { ...id, ...producer });
  }

  /** A clean end, or a crash while appends are on their way. */
  async #end(log: DiskLog): Promise<void> {
    if (this.random.chance(0.3)) {
      await log.close();
      return;
    }
    let dead = false;
    const died = new Promise<void>(resolve => {
      let left = 1 + this.random.below(60);
      this.machine.onOperation = () => {
        if (--left > 0) return;
        this.machine.onOperation = undefined;
        dead = true;
        if (this.random.chance(0.6)) this.machine.cut();
        else this.machine.kill();
        resolve();
      };
    });
    for (let i = 0; i < 400 && !dead; i++) {
      const appended = log.append([this.#message(), this.#message()], 'fsync');
      await Promise.race([this.random.chance(0.5) ? appended : turn(), died]);
    }
    await died;
  }
}

test('what is remembered after a restart is what was remembered before, by seed', { timeout: 120_000 }, async () => {
  const first = firstSeed();
  const deadline = performance.now() + 8000;
  let found = 0;
  let seeds = 0;
  for (; seeds < 300 && (seeds < 20 || performance.now() < deadline); seeds++) {
    const history = new History(first + seeds);
    await history.run().catch(cause => {
      throw new Error(`seed ${first + seeds}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    });
    const unfit = history.reports.filter(({ kind, level }) => kind === 'dedupe_checkpoint' && level === 'warn');
    expect(unfit, `seed ${first + seeds}`).toEqual([]);
    found += history.found;
  }
  console.log(`${seeds} seeds from ${first}: ${found} starts with a checkpoint`);
  expect(found).toBeGreaterThan(seeds);
});

describe('checkpoints', () => {
  const machine = (): SimulatedDisk => new SimulatedDisk(new SeededRandom(1));
  const open = (on: SimulatedDisk, options: Partial<DiskLogOptions> = {}): Promise<DiskLog> =>
    openDiskLog({
      directory,
      disk: on.boot(),
      clock: new ManualClock(),
      random: new SeededRandom(5),
      segmentBytes: 8192,
      ...options,
    });
  const checkpoints = (on: SimulatedDisk): string[] => on.files().filter(file => file.endsWith('.dedupe'));

  /** A log of many segments, every record with an id and a sequence. */
  async function filled(): Promise<SimulatedDisk> {
    const on = machine();
    const log = await open(on);
    for (let i = 0; i < 200; i++)
      await log.append([message('t', 'x'.repeat(300), { id: `i${i}`, producer: 'p', sequence: i })], 'fsync');
    await log.close();
    return on;
  }

  /** How much of the segments a start reads. */
  async function readsOfStart(on: SimulatedDisk): Promise<number> {
    let reads = 0;
    on.fault = (operation, file) => {
      if (operation === 'read' && file.endsWith('.log')) reads++;
    };
    await (await open(on)).close();
    on.fault = undefined;
    return reads;
  }

  const knowsAll = async (on: SimulatedDisk, reports: LogReport[] = []): Promise<void> => {
    const log = await open(on, { onReport: report => void reports.push(report) });
    expect(log.memory).toMatchObject({ ids: 200, producers: 1 });
    for (const i of [0, 99, 199]) {
      const again = [message('t', '', { id: `i${i}` }), message('u', '', { producer: 'p', sequence: i })];
      expect(await log.append(again, 'fsync')).toMatchObject([{ offset: i + 1, duplicate: true }, { offset: i + 1 }]);
    }
    await log.close();
  };

  test('one is kept, and with it a start reads no records of complete segments', async () => {
    const on = await filled();
    expect(checkpoints(on)).toHaveLength(1);
    const segments = on.files().filter(file => file.endsWith('.log')).length;
    const reads = await readsOfStart(on);
    await knowsAll(on);
    for (const file of checkpoints(on)) on.replace(file, Buffer.alloc(0));
    // the frames of every segment beside its header and last frame
    expect(await readsOfStart(on)).toBeGreaterThanOrEqual(reads + segments);
  });

  test.each(['flipped', 'cut', 'empty'])('one that is %s is told of, replaced, and costs nothing else', async how => {
    const on = await filled();
    const [file] = checkpoints(on);
    const content = Buffer.from(on.content(file!));
    if (how === 'flipped') content[content.length >> 1]! ^= 1;
    on.replace(file!, how === 'flipped' ? content : how === 'cut' ? content.subarray(0, -9) : Buffer.alloc(0));
    const reports: LogReport[] = [];
    await knowsAll(on, reports);
    expect(reports.filter(({ kind }) => kind === 'dedupe_checkpoint')).toMatchObject([
      { level: 'warn', message: expect.stringContaining('cannot be used') },
      { level: 'info', message: expect.stringMatching(/\d+ bytes of log from offset 1 on/) },
    ]);
    expect(checkpoints(on)).toHaveLength(1);
    const after: LogReport[] = [];
    await knowsAll(on, after);
    expect(after.map(({ kind }) => kind)).toEqual(['recovered']);
  });

  test('one that the disk cannot read is told of', async () => {
    const on = await filled();
    on.fault = (operation, file) => {
      if (operation === 'read' && file.endsWith('.dedupe'))
        throw Object.assign(new Error('EIO: simulated'), { code: 'EIO' });
    };
    const reports: LogReport[] = [];
    await knowsAll(on, reports);
    expect(reports[0]).toMatchObject({ kind: 'dedupe_checkpoint', message: expect.stringContaining('EIO') });
  });

  test('one that is missing is told of', async () => {
    const on = await filled();
    const disk = on.boot();
    for (const file of checkpoints(on)) await disk.unlink(file);
    const reports: LogReport[] = [];
    await knowsAll(on, reports);
    expect(reports.map(({ level, kind }) => [level, kind])).toEqual([
      ['info', 'dedupe_checkpoint'],
      ['info', 'recovered'],
    ]);
  });

  test('without one all ids are found that are to be, behind however many records of producers', async () => {
    const on = machine();
    const dedupe = { ids: 40, ageMs: 0, limit: 40 };
    const log = await open(on, { dedupe });
    for (let i = 0; i < 60; i++) await log.append([message('t', 'x'.repeat(300), { id: `i${i}` })], 'fsync');
    for (let i = 0; i < 200; i++)
      await log.append([message('t', 'x'.repeat(300), { producer: 'p', sequence: i })], 'fsync');
    await log.close();
    const disk = on.boot();
    for (const file of checkpoints(on)) await disk.unlink(file);
    const again = await open(on, { dedupe });
    expect(again.memory).toMatchObject({ ids: 40, producers: 1 });
    expect(await again.append([message('t', '', { id: 'i20' })], 'fsync')).toMatchObject([{ duplicate: true }]);
    await again.close();
  });

  test('one of another history of the same log is not used', async () => {
    const [ours, theirs] = [await filled(), await filled()];
    for (const [on, id] of [
      [ours, 'ours'],
      [theirs, 'them'],
    ] as const) {
      const log = await open(on);
      await log.append([message('t', '', { id })], 'fsync');
      await log.close();
    }
    const [name] = checkpoints(ours);
    expect(checkpoints(theirs)).toEqual([name]);
    ours.replace(name!, Buffer.from(theirs.content(name!)));
    const reports: LogReport[] = [];
    const log = await open(ours, { onReport: report => void reports.push(report) });
    expect(reports[0]).toMatchObject({ kind: 'dedupe_checkpoint', message: expect.stringContaining('ends otherwise') });
    expect(await log.append([message('t', '', { id: 'ours' })], 'fsync')).toMatchObject([{ duplicate: true }]);
    expect(await log.append([message('t', '', { id: 'them' })], 'fsync')).toMatchObject([{ duplicate: false }]);
    await log.close();
  });

  test('after accepted loss an id of a lost record is new', async () => {
    const on = await filled();
    const segment = on.files().filter(file => file.endsWith('.log'))[2]!;
    const lostFrom = Number(segment.slice(directory.length + 1, directory.length + 17));
    const disk = on.boot();
    await disk.unlink(segment);
    const log = await open(on, { acceptLoss: true });
    expect(await log.append([message('t', '', { id: `i${lostFrom - 1}` })], 'fsync')).toMatchObject([
      { offset: 201, duplicate: false },
    ]);
    expect(await log.append([message('t', '', { id: 'i0' })], 'fsync')).toMatchObject([{ duplicate: true }]);
    await log.close();
  });

  test('a disk without room for one is told of and keeps publishing', async () => {
    const on = machine();
    const reports: LogReport[] = [];
    on.fault = (operation, file) => {
      if (operation === 'write' && file.includes('.dedupe'))
        throw Object.assign(new Error('ENOSPC: simulated'), { code: 'ENOSPC' });
    };
    const log = await open(on, { onReport: report => void reports.push(report) });
    for (let i = 0; i < 60; i++) await log.append([message('t', 'x'.repeat(300), { id: `${i}` })], 'fsync');
    await until('it is told', () => reports.some(({ kind }) => kind === 'dedupe_checkpoint'));
    expect(log.status.state).toBe('open');
    await log.close();
    expect(on.files().filter(file => file.includes('.dedupe'))).toEqual([]);
  });
});
