import { filterSet, parsePartitionedCursor } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Hub, Start } from '../../../src/hub/index.ts';
import { type Appended, type LogRecord, type MemoryLog, openMemoryLog } from '../../../src/log/index.ts';
import { partitionOf } from '../../../src/log/woven/spread.ts';
import { WovenLog, type WovenLogOptions } from '../../../src/log/woven/woven-log.ts';
import { SimulatedClock, seeded, simulatedHub } from '../../hub/simulation.ts';
import { message } from '../messages.ts';

const all = filterSet(['#']);
const named = ({ topic, partitionOffset }: LogRecord): string => `${topic}@${partitionOffset}`;

describe('cursors of 256 partitions, each of which has epochs of its own', () => {
  const many = 256;
  let clock: SimulatedClock;
  let shared: MemoryLog[];
  let log: WovenLog;
  let hub: Hub;
  const times = new Map<string, number>();
  /** Of the first and of the last partition. */
  const [low, high] = [0, many - 1].map(p => {
    for (let i = 0; ; i++) if (partitionOf(`topic/${i}`, many) === p) return `topic/${i}`;
  }) as [string, string];

  beforeEach(() => {
    clock = new SimulatedClock();
    times.clear();
    shared = Array.from({ length: many }, () => {
      clock.ms += 2000;
      return openMemoryLog({ clock: clock.forLog });
    });
  });

  afterEach(() => log.close());

  function open(options: WovenLogOptions = {}): void {
    log = new WovenLog(shared, options);
    hub = simulatedHub(log, clock, seeded(1));
  }

  async function publish(topic: string): Promise<void> {
    clock.ms += 30_000;
    const [result] = await shared[partitionOf(topic, many)]!.append([message(topic)], 'fsync');
    times.set(`${topic}@${(result as Appended).offset}`, (result as Appended).time);
  }

  /** What comes first, and what comes to who goes on by the cursor behind that. */
  async function interrupted(cursor: string): Promise<string[]> {
    const got: string[] = [];
    for (let token = cursor, atHead = false; !atHead; ) {
      const start = await hub.resolveStart(all, { cursor: token, from: undefined });
      expect(start).toMatchObject({ recovered: true, jump: undefined });
      const reader = hub.follow(all, start.at);
      const read = await reader.read(1);
      got.push(...read.records.map(named));
      token = hub.tokens.of(reader.offset, reader.time);
      ({ atHead } = read);
      if (got.length > 100) throw new Error('it does not get on');
    }
    return got;
  }

  test('lead on from where a partition was read that was not yet come to', async () => {
    open();
    const cursor = hub.tokens.of(log.head.offset, clock.now());
    for (let i = 0; i < 4; i++) for (const topic of [low, high]) await publish(topic);
    open();
    const got = await interrupted(cursor);
    for (const topic of [low, high]) for (let i = 1; i <= 4; i++) expect(got).toContain(`${topic}@${i}`);
  });

  test('lead on from the middle of what is no longer in memory', async () => {
    open({ hotBytes: 1 });
    const start = await hub.resolveStart(all, { cursor: undefined, from: 'now' });
    for (let i = 0; i < 4; i++) for (const topic of [low, high]) await publish(topic);
    const reader = hub.follow(all, start.at);
    const got = (await reader.read(1)).records.map(named);
    got.push(...(await interrupted(hub.tokens.of(reader.offset, reader.time))));
    for (const topic of [low, high]) for (let i = 1; i <= 4; i++) expect(got).toContain(`${topic}@${i}`);
  });

  test('say no time that is later than what they do not lead past', async () => {
    const early = await follow(async () => {
      for (let i = 0; i < 4; i++) for (const topic of [low, high]) await publish(topic);
      open();
      return hub.resolveStart(all, { cursor: undefined, from: 'earliest' });
    });
    expect(early).toBe(8);
    times.clear();
    const young = await follow(async () => {
      open({ hotBytes: 1 });
      const start = await hub.resolveStart(all, { cursor: undefined, from: 'now' });
      for (let i = 0; i < 4; i++) for (const topic of [low, high]) await publish(topic);
      return start;
    });
    expect(young).toBe(8);
  });

  /** Reads record by record, and counts them. */
  async function follow(begin: () => Promise<Start>): Promise<number> {
    const { at } = await begin();
    const reader = hub.follow(all, at);
    const got = new Set<string>();
    for (let atHead = false; !atHead; ) {
      const read = await reader.read(1);
      for (const record of read.records) got.add(named(record));
      ({ atHead } = read);
      const { time } = parsePartitionedCursor(hub.tokens.of(reader.offset, reader.time));
      for (const [name, of] of times) if (!got.has(name)) expect(time, name).toBeLessThanOrEqual(of);
    }
    return got.size;
  }
});
