import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { afterEach, expect, test } from 'vitest';
import { type Log, openDiskLog } from '../../../packages/server/src/log/index.ts';
import { History } from '../../history.ts';
import { build, followedRecords } from '../../log/history.ts';
import { followedTopic } from '../../log/topics.ts';
import { TemporaryDirectory } from '../../temporary.ts';

const topics = 4_000;
const bytes = 100e6; // two segments

let home: string;
afterEach(() => rmSync(home, { recursive: true, force: true }));

async function makeHistory(): Promise<History> {
  home = new TemporaryDirectory(tmpdir()).path;
  const directory = join(home, 'log');
  mkdirSync(directory);
  const about = await build({ directory, topics, bytes });
  writeFileSync(join(home, 'about.json'), JSON.stringify(about));
  return new History(home);
}

async function offsetsOf(log: Log, filter: string): Promise<number[]> {
  const offsets: number[] = [];
  for (let at = 0; at < log.head.offset; ) {
    const slice = await log.read(at, log.head.offset, filterSet([filter]), 1024 ** 2);
    offsets.push(...slice.records.map(({ offset }) => offset));
    at = slice.next;
  }
  return offsets;
}

test('a history has as many topics and bytes as were asked for, one of them evenly spread; copies are logs of their own', async () => {
  const history = await makeHistory();
  expect(history.about.records).toBe(topics + followedRecords);
  expect(history.about.bytes / bytes).toBeCloseTo(1, 0);

  const whole = await openDiskLog({ directory: history.copy().path });
  expect(await whole.topics('iot/', '', topics + 1)).toHaveLength(topics);
  const followed = await offsetsOf(whole, followedTopic);
  const gaps = followed.slice(1).map((offset, i) => offset - followed[i]!);
  expect(followed).toHaveLength(followedRecords);
  expect(new Set(gaps).size).toBe(1);
  expect(await offsetsOf(whole, 'iot/+/device-07/#')).toHaveLength(topics / 100);
  expect(await offsetsOf(whole, 'iot/site-00003/#')).toHaveLength(800);

  // of the oldest segments only, while the other is open
  const part = await openDiskLog({ directory: history.copy(70e6).path });
  expect(part.head.offset).toBeLessThan(whole.head.offset);
  expect(part.status.bytes).toBeLessThan(70e6);
  const again = await openDiskLog({ directory: history.copy().path });
  expect(again.head.offset).toBe(history.about.records);
  for (const log of [whole, part, again]) await log.close();
});
