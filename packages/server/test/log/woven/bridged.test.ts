import { filterSet } from '@tailrace/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import type { Hub } from '../../../src/hub/index.ts';
import {
  type DiskLog,
  type Log,
  type LogRecord,
  type MemoryLog,
  openDiskLog,
  openMemoryLog,
} from '../../../src/log/index.ts';
import type { BridgedPartition } from '../../../src/log/woven/spread.ts';
import { wovenOf } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, seeded, simulatedHub } from '../../hub/simulation.ts';
import { range } from '../../range.ts';
import { message } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const textOf = ({ data }: LogRecord): string => Buffer.from(data).toString();

/** A log on disk with partitions beside it to which others write. */
class Bridged implements AsyncDisposable {
  readonly #directory = temporaryDirectory();
  readonly #clock = new SimulatedClock();
  readonly #hotBytes: number;
  /** What others write. */
  readonly theirs: readonly MemoryLog[];
  disk!: DiskLog;
  log!: Log;
  hub!: Hub;

  constructor(hotBytes: number, partitions = 2) {
    this.#hotBytes = hotBytes;
    this.theirs = Array.from({ length: partitions }, () => openMemoryLog({}));
  }

  /** Opens it, again if need be; without what is beside it when `bridged` is none. */
  async open(bridged: readonly BridgedPartition[] = this.partitions): Promise<this> {
    await this.disk?.close();
    this.disk = await openDiskLog({
      directory: this.#directory,
      hotBytes: this.#hotBytes,
      segmentBytes: 64 * 1024,
      keep: {
        rules: [
          { filter: 'few/#', last: 2 },
          { filter: 'table/#', lastPerKey: true },
        ],
      },
    });
    this.log = wovenOf([this.disk], { hotBytes: this.#hotBytes, bridged });
    this.hub = simulatedHub(this.log, this.#clock, seeded(1));
    return this;
  }

  get partitions(): readonly BridgedPartition[] {
    return this.theirs.map((log, p) => ({
      ...{ log, filters: ['theirs/#'], topic: undefined, number: 8192 + p, stamp: 7, source: `theirs/${p}` },
    }));
  }

  publish(topic: string, data: string, fields = {}): Promise<unknown> {
    return this.log.append([message(topic, data, fields)], 'written');
  }

  /** Reads as a subscriber does up to the head; what is told is said in between. */
  async follow(request: { cursor?: string; from?: string }, filter = '#'): Promise<{ told: string[]; cursor: string }> {
    const { hub } = this;
    const filters = filterSet([filter]);
    const start = await hub.resolveStart(filters, { cursor: request.cursor, from: request.from });
    const told: string[] = start.jump === undefined ? [] : [start.jump.type];
    const reader = hub.follow(filters, start.jump?.to ?? start.at, start.snapshot, start.told);
    for (let atHead = false; !atHead; ) {
      const read = await reader.read(3000);
      if (read.gap !== undefined) told.push('gap');
      if (read.reset !== undefined) told.push('reset');
      told.push(...read.records.map(record => `${record.topic} ${textOf(record)}`));
      ({ atHead } = read);
    }
    return { told, cursor: hub.tokens.of(reader.offset, reader.time) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disk.close();
    for (const log of this.theirs) await log.close();
  }
}

const numberOf = (text: string): number => Number.parseInt(text, 10);

const opened: Bridged[] = [];

async function bridged(hotBytes = 1024 * 1024, partitions = 2): Promise<Bridged> {
  const made = await new Bridged(hotBytes, partitions).open();
  opened.push(made);
  return made;
}

afterEach(async () => {
  for (const one of opened.splice(0)) await one[Symbol.asyncDispose]();
});

describe('a log on disk with what others write beside it', () => {
  test.each(range(1, 4))(
    'subscribers get each record once, in the order of its topic, whatever memory holds (seed %i)',
    async seed => {
      const random = seeded(seed);
      const pick = (most: number): number => random.int(most);
      const room = await bridged(4096);
      const expected = new Map<string, string[]>();
      const readers = ['#', 'own/#', 'theirs/#', 'own/1', 'theirs/2'].flatMap(filter => [
        { filter, cursor: undefined as string | undefined, got: [] as string[] },
        { filter, cursor: undefined as string | undefined, got: [] as string[] },
      ]);
      for (let i = 0; i < 1500; i++) {
        const name = pick(3);
        const isOurs = pick(2) === 0;
        const topic = isOurs ? `own/${name}` : `theirs/${name}`;
        const text = `${i}${'x'.repeat(pick(400))}`;
        expected.set(topic, [...(expected.get(topic) ?? []), text]);
        if (isOurs) await room.publish(topic, text);
        else await room.theirs[name % 2]!.append([message(topic, text)], 'written');
        if (pick(40) === 0) {
          const reader = readers[pick(readers.length)]!;
          const { told, cursor } = await room.follow({ from: 'earliest', cursor: reader.cursor! }, reader.filter);
          reader.got.push(...told);
          reader.cursor = cursor;
        }
        if (pick(400) === 0) await room.open();
      }
      for (const { filter, cursor, got } of readers) {
        got.push(...(await room.follow({ from: 'earliest', cursor: cursor! }, filter)).told);
        const matches = filterSet([filter]);
        for (const [topic, texts] of expected) {
          const mine = got.filter(line => line.startsWith(`${topic} `)).map(line => line.slice(topic.length + 1));
          const wanted = matches.matches(topic) ? texts : [];
          expect(mine.map(numberOf)).toEqual(wanted.map(numberOf));
          expect(mine.join() === wanted.join()).toBe(true);
        }
        expect(got.filter(line => !line.includes(' '))).toEqual([]);
      }
    },
    60_000,
  );

  test('what rules and deletions took of the own part is told, and of the other nothing', async () => {
    const room = await bridged(4096);
    await room.publish('own/a', '0');
    const { cursor } = await room.follow({ from: 'earliest' });
    for (let i = 0; i < 300; i++) {
      await room.publish('few/a', `${i}${'x'.repeat(500)}`);
      await room.publish('table/a', `${i}${'x'.repeat(100)}`, { key: `${i % 3}` });
    }
    await room.theirs[0]!.append([message('theirs/a', 'theirs')], 'written');
    await room.publish('own/b', 'before');
    await room.disk.compact();
    const few = await room.follow({ cursor }, 'few/#');
    expect(few.told[0]).toBe('gap');
    expect(few.told.at(-1)).toMatch(/^few\/a 299x/);
    expect(few.told.length).toBeLessThan(300);
    expect((await room.follow({ cursor }, 'theirs/#')).told).toEqual(['theirs/a theirs']);
    await room.log.deleteTopic('own/b');
    expect((await room.follow({ cursor }, 'own/#')).told).toEqual(['gap']);
    const table = await room.follow({ from: 'last' }, 'table/#');
    expect(table.told.map(line => Number(/ (\d+)x/.exec(line)![1])).sort()).toEqual([297, 298, 299]);
  });

  test('cursors stay good when the bridge comes, and when it goes', async () => {
    const room = await bridged(1024 * 1024, 1);
    await room.open([]);
    await room.publish('own/a', '1');
    const plain = (await room.follow({ from: 'earliest' })).cursor;
    expect(plain).toMatch(/^k/);
    await room.publish('own/a', '2');
    await room.open();
    await room.theirs[0]!.append([message('theirs/a', 'theirs')], 'written');
    const both = await room.follow({ cursor: plain }, 'own/#');
    expect(both.told).toEqual(['own/a 2']);
    expect(both.cursor).toMatch(/^w/);
    await room.publish('own/a', '3');
    await room.open([]);
    expect((await room.follow({ cursor: both.cursor })).told).toEqual(['own/a 3']);
  });

  test('a source that was made anew resets, and is read from its beginning', async () => {
    const room = await bridged(1024 * 1024, 1);
    await room.theirs[0]!.append([message('theirs/a', '1'), message('theirs/a', '2')], 'written');
    const { cursor } = await room.follow({ from: 'earliest' }, 'theirs/#');
    await room.publish('own/a', 'own');
    await room.open(room.partitions.map(partition => ({ ...partition, stamp: 8 })));
    expect((await room.follow({ cursor }, 'theirs/#')).told).toEqual(['reset', 'theirs/a 1', 'theirs/a 2']);
    expect((await room.follow({ cursor }, 'own/a')).told).toEqual(['own/a own']);
  });

  test('cursors of one log are good at another, as far as nothing but the bridge is read', async () => {
    const [one, other] = [await bridged(1024 * 1024, 1), new Bridged(1024 * 1024, 0)];
    opened.push(await other.open(one.partitions));
    await one.theirs[0]!.append([message('theirs/a', '1')], 'written');
    const { cursor } = await one.follow({ from: 'earliest' }, 'theirs/#');
    await one.theirs[0]!.append([message('theirs/a', '2')], 'written');
    expect((await other.follow({ cursor }, 'theirs/#')).told).toEqual(['theirs/a 2']);
    expect((await other.follow({ cursor }, '#')).told).toEqual(['reset', 'theirs/a 2']);
  });
});
