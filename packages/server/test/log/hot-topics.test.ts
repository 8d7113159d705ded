import { expect, test } from 'vitest';
import { HotTopics } from '../../src/log/hot-topics.ts';
import { LogRecord, PlainBatch, type RecordBatch } from '../../src/log/index.ts';
import { topicHash } from '../../src/log/topic-hash.ts';
import { message } from './messages.ts';

test.each([2 ** 31, 2 ** 32, 2 ** 40])('batches are found when the numbers of batches pass %d', turn => {
  const batches = new Map<number, RecordBatch>();
  const topics = new HotTopics(topicHash, serial => batches.get(serial)!);
  const first = turn - 20;
  for (let i = 0; i < 40; i++) {
    const names = ['always', `only/${i}`];
    const batch = new PlainBatch(names.map((name, n) => new LogRecord(i * 2 + n + 1, i, message(name))));
    batches.set(first + i, batch);
    topics.push(batch, first + i);
    if (i >= 15) {
      topics.drop(first + i - 15);
      batches.delete(first + i - 15);
    }
    const held = [...batches.values()];
    const found: RecordBatch[] = [];
    for (let entry = topics.newest('always'); entry !== -1; entry = topics.before(entry))
      found.unshift(topics.batch(entry));
    expect(found).toEqual(held);
    expect(topics.size).toBe(held.length + 1);
    expect(topics.newest(`only/${i - 16}`)).toBe(-1);
    expect(topics.batch(topics.newest(`only/${Math.max(i - 14, 0)}`))).toBe(held[0]);
  }
});

test('any of a thousand batches of a topic is found, also when the oldest are gone', () => {
  const batches: RecordBatch[] = [];
  const topics = new HotTopics(topicHash, serial => batches[serial]!);
  let dropped = 0;
  for (let i = 0; i < 1000; i++) {
    batches.push(
      new PlainBatch([new LogRecord(i * 3 + 1, i, message('t')), new LogRecord(i * 3 + 3, i, message('u'))]),
    );
    topics.push(batches[i]!, i);
    if (i % 5 === 4) topics.drop(dropped++);
    if (i % 50 !== 49) continue;
    for (let wanted = dropped; wanted <= i; wanted++) {
      // from the first offset of the batch on, and between its last two
      for (const after of [wanted * 3, wanted * 3 + 2])
        expect(topics.batch(topics.firstAbove(topics.newest('t'), after))).toBe(batches[wanted]);
    }
  }
});
