import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/log/clock.ts';
import type { Disk } from '../../../src/log/disk/files/disk.ts';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import { OpenFiles } from '../../../src/log/disk/files/open-files.ts';
import { HouseworkHere } from '../../../src/log/disk/housework/here.ts';
import { type Housework, HouseworkLost } from '../../../src/log/disk/housework/housework.ts';
import { stateOf } from '../../../src/log/disk/housework/segment-state.ts';
import type { MayDrop, RewrittenSegment, SweepHost, SweepJob } from '../../../src/log/disk/housework/sweep-job.ts';
import { HouseworkThread } from '../../../src/log/disk/housework/thread.ts';
import { IndexCache } from '../../../src/log/disk/index/index-cache.ts';
import { openSealed } from '../../../src/log/disk/index/sealed-index.ts';
import { readHeader } from '../../../src/log/disk/segment/read-segment.ts';
import { Segment } from '../../../src/log/disk/segment/segment.ts';
import { newestSegments } from '../../../src/log/disk/segment/segment-name.ts';
import { type DiskLog, type DiskLogOptions, Gate, openDiskLog, verify } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { textOf } from './prepared-log.ts';

const rules = { rules: [{ filter: 'a/#', last: 2 }] };
const options: Partial<DiskLogOptions> = { segmentBytes: 16384, hotBytes: 1, dedupe: { ids: 0, ageMs: 0 } };

/** A closed log of several segments. */
async function furnishedDirectory(): Promise<string> {
  const directory = temporaryDirectory();
  const log = await openDiskLog({ directory, ...options });
  for (let i = 0; i < 300; i++)
    await log.append([message(`a/${i % 3}`, `${i} ${'.'.repeat(80)}`), message(`b/${i}`, `${i}`)], 'written');
  await log.close();
  return directory;
}

async function segmentsOf(directory: string): Promise<Segment[]> {
  const files = new OpenFiles(nodeDisk);
  const reading = { cache: new IndexCache(), gate: new Gate(1) };
  const segments: Segment[] = [];
  for (const { name } of newestSegments(fs.readdirSync(directory))) {
    const header = await readHeader(nodeDisk, path.join(directory, name));
    if (typeof header === 'string') throw new Error(header);
    const segment = new Segment(files, directory, header);
    await openSealed(segment, reading);
    segments.push(segment);
  }
  await files.close();
  return segments;
}

/** Every file but the temporary ones. */
function contentOf(directory: string): Map<string, Buffer> {
  const names = fs.readdirSync(directory).filter(name => !/\.tmp$|\.sock$|^term$/.test(name));
  return new Map(names.sort().map(name => [name, fs.readFileSync(path.join(directory, name))]));
}

function temporariesIn(directory: string): string[] {
  return fs.readdirSync(directory).filter(name => name.endsWith('.tmp'));
}

function draftsIn(directory: string): string[] {
  return temporariesIn(directory).filter(name => !name.startsWith('prepared.'));
}

async function sweepJob(directory: string): Promise<SweepJob> {
  const segments = await segmentsOf(directory);
  const { secret } = segments[0]!.header;
  return { directory, run: 7, secret, options: rules, tableBytes: 2 ** 20, share: 0, segments: segments.map(stateOf) };
}

class Host implements SweepHost {
  readonly offered: RewrittenSegment[] = [];
  readonly unread: string[] = [];
  onInstall: (rewritten: RewrittenSegment) => Promise<boolean> = async () => false;
  isThere = async (): Promise<boolean> => true;
  mayDrop = async (): Promise<MayDrop> => 'everything';
  unreadable = async ({ segment, why }: { segment: string; why: string }): Promise<void> => {
    this.unread.push(`${segment}: ${why}`);
  };
  install = (rewritten: RewrittenSegment): Promise<boolean> => {
    this.offered.push(rewritten);
    return this.onInstall(rewritten);
  };
}

const forever = new AbortController().signal;

const kinds: Record<string, () => Housework> = {
  'on this thread': () => new HouseworkHere(nodeDisk, systemClock),
  'on a thread of its own': () => new HouseworkThread(systemClock),
};

describe.each(Object.keys(kinds))('housework %s', kind => {
  const open: Housework[] = [];
  afterEach(async () => {
    for (const housework of open.splice(0)) await housework.close();
  });
  const begin = (): Housework => {
    const housework = kinds[kind]!();
    open.push(housework);
    return housework;
  };

  test('writes the same index as the log does, and nothing else', async () => {
    const directory = await furnishedDirectory();
    const before = contentOf(directory);
    const housework = begin();
    for (const segment of await segmentsOf(directory)) {
      const temporary = `${segment.indexPath}.7.tmp`;
      await housework.writeIndex({ directory, segment: stateOf(segment), temporary });
      expect(fs.readFileSync(temporary)).toEqual(fs.readFileSync(segment.indexPath));
    }
    expect(contentOf(directory)).toEqual(before);
  });

  test('says what is damaged, and leaves nothing of the index', async () => {
    const directory = await furnishedDirectory();
    const [segment] = await segmentsOf(directory);
    const bytes = fs.readFileSync(segment!.path);
    bytes[bytes.length - 100]! ^= 1;
    fs.writeFileSync(segment!.path, bytes);
    const temporary = `${segment!.indexPath}.7.tmp`;
    const written = begin().writeIndex({ directory, segment: stateOf(segment!), temporary });
    await expect(written).rejects.toMatchObject({
      name: 'LogDamaged',
      directory,
      damages: [{ segment: segment!.name, what: 'the frame fails its checksum' }],
    });
    expect(temporariesIn(directory)).toEqual([]);
  });

  test('does not vouch for a file that ends before what was committed', async () => {
    const directory = await furnishedDirectory();
    const [segment] = await segmentsOf(directory);
    const state = { ...stateOf(segment!), records: segment!.records + 1 };
    const temporary = `${segment!.indexPath}.7.tmp`;
    await expect(begin().writeIndex({ directory, segment: state, temporary })).rejects.toThrow(
      'the frames are not those that were written',
    );
    expect(temporariesIn(directory)).toEqual([]);
  });

  test('fails as the disk does', async () => {
    const directory = await furnishedDirectory();
    const [segment] = await segmentsOf(directory);
    const temporary = path.join(directory, 'missing', 'index.tmp');
    await expect(begin().writeIndex({ directory, segment: stateOf(segment!), temporary })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  test('offers what it rewrote, whole, and takes it away again when it is not wanted', async () => {
    const directory = await furnishedDirectory();
    const before = contentOf(directory);
    const host = new Host();
    host.onInstall = async ({ temporary, temporaryIndex }) => {
      expect(fs.existsSync(temporary)).toBe(true);
      expect(fs.existsSync(temporaryIndex!)).toBe(true);
      return false;
    };
    await begin().sweep(await sweepJob(directory), host, forever);
    expect(host.offered.length).toBeGreaterThan(2);
    expect(host.offered.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(300 - 6);
    expect(host.unread).toEqual([]);
    expect(contentOf(directory)).toEqual(before);
    expect(temporariesIn(directory)).toEqual([]);
  });

  test('ends with the error of its host', async () => {
    const directory = await furnishedDirectory();
    const host = new Host();
    host.onInstall = () => Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
    const swept = begin().sweep(await sweepJob(directory), host, forever);
    await expect(swept).rejects.toMatchObject({ message: 'no space', code: 'ENOSPC' });
    expect(host.offered).toHaveLength(1);
    expect(temporariesIn(directory)).toEqual([]);
  });

  test('stops when it is told to', async () => {
    const directory = await furnishedDirectory();
    const host = new Host();
    const stop = new AbortController();
    host.onInstall = async () => {
      stop.abort();
      return false;
    };
    await expect(begin().sweep(await sweepJob(directory), host, stop.signal)).rejects.toThrow();
    expect(host.offered).toHaveLength(1);
    expect(temporariesIn(directory)).toEqual([]);
  });

  test('goes round a segment that it cannot read', async () => {
    const directory = await furnishedDirectory();
    const job = await sweepJob(directory);
    const newest = newestSegments(fs.readdirSync(directory)).at(-2)!.name;
    fs.truncateSync(path.join(directory, newest), 5000);
    const host = new Host();
    await begin().sweep(job, host, forever);
    expect(host.unread).toHaveLength(1);
    expect(host.unread[0]).toContain(newest);
    expect(host.offered.length).toBeGreaterThan(1);
  });
});

test('a thread ends when there has been nothing to do for a while, and is started again', async () => {
  const directory = await furnishedDirectory();
  const [segment] = await segmentsOf(directory);
  const job = { directory, segment: stateOf(segment!), temporary: `${segment!.indexPath}.7.tmp` };
  const clock = new ManualClock();
  const housework = new HouseworkThread(clock);
  for (let round = 0; round < 2; round++) {
    const ended = new Promise(resolve => withThread(worker => worker.once('exit', resolve)));
    await housework.writeIndex(job);
    clock.advance(4_000);
    await housework.writeIndex(job);
    clock.advance(5_000);
    await ended;
  }
  await housework.close();
});

test('a thread that was prepared waits for its first work however long that takes', async () => {
  const directory = await furnishedDirectory();
  const [segment] = await segmentsOf(directory);
  const clock = new ManualClock();
  const housework = new HouseworkThread(clock);
  let started = 0;
  const count = (): void => void started++;
  process.on('worker', count);
  const online = new Promise(resolve => withThread(worker => worker.once('online', resolve)));
  housework.prepare();
  housework.prepare();
  await online;
  clock.advance(60_000);
  await housework.writeIndex({ directory, segment: stateOf(segment!), temporary: `${segment!.indexPath}.7.tmp` });
  await housework.close();
  housework.prepare();
  process.off('worker', count);
  expect(started).toBe(1);
});

test('what a thread that died had asked is not answered to the next', async () => {
  const directory = await furnishedDirectory();
  const job = await sweepJob(directory);
  const housework = new HouseworkThread(systemClock);
  const died = new Host();
  const answer = Promise.withResolvers<boolean>();
  withThread(worker => {
    died.onInstall = () => {
      void worker.terminate();
      return answer.promise;
    };
  });
  await expect(housework.sweep(job, died, forever)).rejects.toThrow(HouseworkLost);
  const host = new Host();
  const offered = Promise.withResolvers<void>();
  const stop = new AbortController();
  const wanted = Promise.withResolvers<boolean>();
  host.onInstall = () => {
    offered.resolve();
    return wanted.promise;
  };
  const swept = housework.sweep(job, host, stop.signal);
  await offered.promise;
  answer.resolve(false);
  // one thing after the other: by then it has come to what was sent before
  const [segment] = await segmentsOf(directory);
  await housework.writeIndex({ directory, segment: stateOf(segment!), temporary: `${segment!.indexPath}.8.tmp` });
  expect(host.offered).toHaveLength(1);
  expect(fs.existsSync(host.offered[0]!.temporary)).toBe(true);
  stop.abort();
  wanted.resolve(false);
  await expect(swept).rejects.toThrow();
  await housework.close();
});

/** Runs `during` with the next thread that is started. */
function withThread(during: (worker: Worker) => void): void {
  process.once('worker', during);
}

const manyRecords = 12_000;
const large: Partial<DiskLogOptions> = { hotBytes: 1, dedupe: { ids: 0, ageMs: 0 } };

async function appendMany(log: DiskLog, from = 0): Promise<string[]> {
  const texts = Array.from({ length: manyRecords }, (_, i) => `${from + i}`);
  for (let i = 0; i < texts.length; i += 1000)
    await log.append(
      texts.slice(i, i + 1000).map((text, k) => message(`a/${(i + k) % 50}`, text)),
      'written',
    );
  return texts;
}

async function textsIn(log: DiskLog): Promise<string[]> {
  return (await readAllOf(log, ['#'], log.floor, log.head.offset, 1e6)).map(textOf);
}

describe('a log whose thread', () => {
  test('writes the index of a large segment finds its records through it', async () => {
    const directory = temporaryDirectory();
    let threads = 0;
    withThread(() => threads++);
    const log = await openDiskLog({ directory, ...large });
    const texts = await appendMany(log);
    await log.close();
    expect(threads).toBe(1);
    const [index] = fs.readdirSync(directory).filter(name => name.endsWith('.idx'));
    expect(index).toBeDefined();
    const again = await openDiskLog({ directory, ...large });
    expect(await textsIn(again)).toEqual(texts);
    await again.close();
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('dies while it writes an index writes it itself', async () => {
    const directory = temporaryDirectory();
    withThread(worker => void worker.terminate());
    const reports: string[] = [];
    const log = await openDiskLog({ directory, ...large, onReport: ({ kind }) => reports.push(kind) });
    const texts = await appendMany(log);
    await log.close();
    expect(reports).toEqual(['recovered']);
    expect(fs.readdirSync(directory).filter(name => name.endsWith('.idx'))).toHaveLength(1);
    expect(temporariesIn(directory)).toEqual([]);
    const again = await openDiskLog({ directory, ...large });
    expect(await textsIn(again)).toEqual(texts);
    await again.close();
  });

  test.each(['at once', 'in the middle of a segment'])(
    'dies %s while it compacts loses nothing, and compacts later',
    async when => {
      const directory = await furnishedDirectory();
      const log = await openDiskLog({ directory, ...options, keep: rules });
      const before = await textsIn(log);
      const files = contentOf(directory);
      withThread(worker => {
        if (when === 'at once') void worker.terminate();
        // it asks before it rewrites
        else worker.once('message', () => void worker.terminate());
      });
      await expect(log.compact()).rejects.toThrow(HouseworkLost);
      expect(contentOf(directory)).toEqual(files);
      expect(await textsIn(log)).toEqual(before);
      expect((await log.compact()).records).toBe(300 - 6);
      const after = await textsIn(log);
      expect(after).toHaveLength(before.length - 294);
      await log.close();
      const again = await openDiskLog({ directory, ...options, keep: rules });
      expect(await textsIn(again)).toEqual(after);
      await again.close();
      expect((await verify(directory)).damages).toEqual([]);
    },
  );

  test('dies leaves no draft, and what another job writes stays', async () => {
    const directory = await furnishedDirectory();
    const log = await openDiskLog({ directory, ...options, keep: rules });
    const ofIndex = `0000000000000002.0000.idx.${log.head.epoch}.tmp`;
    withThread(worker =>
      worker.on('message', ({ method, argument }: { method?: string; argument?: RewrittenSegment }) => {
        if (method !== 'install') return;
        // as if it had come to another segment, which is gone by now
        const draft = path.basename(argument!.temporary).replace(/^\d+/, '0000000000000002');
        for (const name of [draft, ofIndex]) fs.writeFileSync(path.join(directory, name), '');
        void worker.terminate();
      }),
    );
    await expect(log.compact()).rejects.toThrow(HouseworkLost);
    expect(draftsIn(directory)).toEqual([ofIndex]);
    await log.close();
  });

  test('is at work when it is closed closes soon, and leaves what it had', async () => {
    const directory = await furnishedDirectory();
    const log = await openDiskLog({ directory, ...options, keep: rules });
    const compacted = log.compact();
    await log.close();
    expect((await compacted).records).toBeLessThan(294);
    expect(temporariesIn(directory)).toEqual([]);
    expect((await verify(directory)).damages).toEqual([]);
  });

  test('works for an owner that was replaced changes no file of the new one', async () => {
    const directory = await furnishedDirectory();
    let replaced = false;
    const disk: Disk = {
      ...nodeDisk,
      own: async directory => ({ ...(await nodeDisk.own(directory)), lost: () => replaced }),
    };
    const log = await openDiskLog({ directory, disk, ...options, keep: rules });
    const files = contentOf(directory);
    withThread(() => {
      replaced = true;
    });
    await expect(log.compact()).rejects.toThrow('another process has taken over the data directory');
    expect(contentOf(directory)).toEqual(files);
    await log.close();
  });
});
