import { filterSet } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Batch } from '../../src/log/disk/commit/batch.ts';
import { BatchSpace } from '../../src/log/disk/commit/batch-space.ts';
import { OpenFiles } from '../../src/log/disk/files/open-files.ts';
import { ActiveIndex } from '../../src/log/disk/index/active-index.ts';
import { Segment } from '../../src/log/disk/segment/segment.ts';
import type { HotMemory } from '../../src/log/hot-memory.ts';
import { HotTail, LogRecord, PlainBatch, type RecordBatch } from '../../src/log/index.ts';
import { PickedBatch } from '../../src/log/record-batch.ts';
import { type TopicHash, topicHash } from '../../src/log/topic-hash.ts';
import { CollidingHash } from './colliding-hash.ts';
import { message, plain } from './messages.ts';
import { firstSeed, SeededRandom } from './seeded-random.ts';

/** A batch that went through the encoding of the disk log. */
function encoded(records: readonly LogRecord[], hash: TopicHash, memory: HotMemory): RecordBatch {
  const segment = new Segment(new OpenFiles(undefined as never), '', {
    generation: 0,
    number: 1,
    epoch: 1,
    firstOffset: 1,
    created: 0,
    previousCrc: 0,
    logId: 'log',
    secret: new Uint8Array(16),
    framesAt: 64,
  });
  segment.index = new ActiveIndex(64, hash);
  const batch = new Batch(segment, 64, new BatchSpace(64), 0);
  for (const record of records) batch.add(record, record.offset, record.time);
  batch.close();
  batch.commitToIndex();
  const committed = batch.toRecords(memory);
  // the buffer is used again
  batch.buffer.fill(0xee);
  return committed;
}

const steps = fc.array(
  fc.record({
    // topics of a batch; a gap before it is what a rewritten log may have
    topics: fc.array(fc.nat(4), { minLength: 1, maxLength: 12 }),
    holes: fc.array(fc.nat(2), { minLength: 12, maxLength: 12 }),
    wait: fc.nat(3),
  }),
  { minLength: 1, maxLength: 12 },
);
const filters = fc.uniqueArray(fc.constantFrom('t/0', 't/1', 't/2', 't/3', 't/4', 't/+', 'none'), {
  minLength: 1,
  maxLength: 3,
});

function plainBatch(records: readonly LogRecord[], hash: TopicHash): RecordBatch {
  return new PlainBatch(records, hash);
}

describe.each([
  ['plain batches', plainBatch, topicHash],
  ['encoded batches', encoded, topicHash],
  ['plain batches whose topics collide', plainBatch, new CollidingHash(1)],
  ['encoded batches whose topics collide', encoded, new CollidingHash(3)],
])('a hot tail of %s', (_, toBatch, hash) => {
  test('answers as a plain list of its records would', () => {
    fc.assert(
      fc.property(
        steps,
        filters,
        fc.integer({ min: 300, max: 20_000 }),
        fc.nat(150),
        fc.nat(150),
        fc.integer({ min: 1, max: 2000 }),
        (batches, chosen, maxBytes, a, b, budget) => {
          const hot = new HotTail(maxBytes, 0, hash);
          const all: LogRecord[] = [];
          let offset = 0;
          let time = 1000;
          for (const { topics, holes, wait } of batches) {
            const records = topics.map((topic, i) => {
              offset += 1 + holes[i]!;
              time += wait;
              return new LogRecord(offset, time, message(`t/${topic}`, `${offset}`, { key: `k${topic}` }));
            });
            all.push(...records);
            hot.push(toBatch(records, hash, hot.memory));
          }
          const held = all.filter(record => record.offset > hot.base);
          expect(held.length).toBeGreaterThan(0);
          const set = filterSet(chosen);
          const after = Math.max(hot.base, Math.min(a, b));
          const to = Math.max(after, a, b);
          const wanted = held.filter(r => r.offset > after && r.offset <= to && set.matches(r.topic));

          const read: LogRecord[] = [];
          const next = hot.read(after, to, set, budget, read);
          const weight = wanted.map(record => record.weight);
          let fits = 0;
          for (let sum = 0; fits < wanted.length && sum < budget; fits++) sum += weight[fits]!;
          expect(read.map(plain)).toEqual(wanted.slice(0, fits).map(plain));
          const whole = fits === wanted.length && weight.reduce((sum, w) => sum + w, 0) < budget;
          expect(next).toBe(whole ? to : read[read.length - 1]!.offset);

          expect(new Set(hot.matchedTopics(after, to, set))).toEqual(
            // topics of whole batches: those that begin within the stretch and end beyond it may add some
            new Set([...hot.matchedTopics(after, to, set)].filter(topic => set.matches(topic))),
          );
          for (const { topic } of wanted) expect(hot.matchedTopics(after, to, set)).toContain(topic);

          for (const topic of ['t/0', 't/3', 'none']) {
            const of = held.filter(record => record.topic === topic);
            const before = of.filter(record => record.offset <= to).map(record => record.offset);
            expect(hot.newest(topic, 3, to)).toEqual(before.slice(-3));
            expect(hot.newestOf(topic)?.offset).toBe(of[of.length - 1]?.offset);
          }
          for (const { offset } of all) {
            const record = hot.at(offset);
            expect(record && plain(record)).toEqual(held.filter(r => r.offset === offset).map(plain)[0]);
          }
          expect(hot.at(offset + 1)).toBeUndefined();
          expect(new Set(hot.topics())).toEqual(new Set(held.map(record => record.topic)));
          expect(hot.timeAt(to)).toBe(held.findLast(record => record.offset <= to)?.time);
          for (const since of [0, 1003, 1010, 2000])
            expect(hot.firstSince(since)).toBe(held.find(record => record.time >= since)?.offset);
          hot.trim(to);
          expect(hot.base).toBeLessThanOrEqual(Math.max(to, after));
          hot.trim(Number.POSITIVE_INFINITY);
          expect([hot.bytes, hot.topicCount, hot.batchCount]).toEqual([0, 0, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('leads to the records of each topic whatever is evicted, trimmed and deleted, in few and in thousands of batches', () => {
    for (let run = 0, seed = firstSeed(); run < 12; run++, seed++) {
      const random = new SeededRandom(seed);
      const hot = new HotTail(random.pick([5_000, 50_000, 500_000]), 0, hash);
      const topics = random.pick([1, 3, 40, 2000]);
      const pushes = random.pick([20, 200, 2000]);
      let held: LogRecord[] = [];
      let offset = 0;
      for (let push = 0; push < pushes; push++) {
        const records = Array.from({ length: 1 + random.below(random.pick([1, 3, 20])) }, () => {
          // one topic in many batches, others in one or two
          const topic = random.chance(0.3) ? 't/0' : `t/${random.below(topics)}`;
          return new LogRecord(++offset, 1000 + push, message(topic, `${offset}`));
        });
        held.push(...records);
        hot.push(toBatch(records, hash, hot.memory));
        if (random.chance(0.01)) hot.trim(hot.base + random.below(offset - hot.base));
        if (random.chance(0.003)) {
          hot.reset(offset);
          held = [];
          continue;
        }
        if (random.chance(0.02)) {
          const topic = random.pick(held).topic;
          const upTo = hot.base + random.below(offset - hot.base + 1);
          hot.remove(topic, upTo);
          held = held.filter(record => record.topic !== topic || record.offset > upTo);
        }
        if (push % 10 !== 0 && push !== pushes - 1) continue;
        held = held.filter(record => record.offset > hot.base);
        const what = `seed ${seed}, push ${push}`;
        const offsetsOf = new Map<string, number[]>();
        for (const record of held) offsetsOf.set(record.topic, [...(offsetsOf.get(record.topic) ?? []), record.offset]);
        expect([...hot.topics()].sort(), what).toEqual([...offsetsOf.keys()].sort());
        expect(hot.topicCount, what).toBe(offsetsOf.size);
        for (const topic of ['t/0', `t/${random.below(topics)}`, `t/${random.below(topics)}`, 'none']) {
          const offsets = offsetsOf.get(topic) ?? [];
          const after = hot.base + random.below(offset - hot.base + 1);
          const to = after + random.below(offset - after + 1);
          expect(hot.newest(topic, 5, to), what).toEqual(offsets.filter(at => at <= to).slice(-5));
          const read: LogRecord[] = [];
          expect(hot.read(after, to, filterSet([topic]), Number.POSITIVE_INFINITY, read), what).toBe(to);
          expect(
            read.map(record => record.offset),
            what,
          ).toEqual(offsets.filter(at => at > after && at <= to));
          for (const record of read) expect(record.topic).toBe(topic);
        }
      }
    }
  });
});

test('records picked from a batch again and again are read as soon as those picked once', () => {
  const records = [1, 2, 3].map(offset => new LogRecord(offset, 0, message('t', `${offset}`)));
  let batch: RecordBatch = new PlainBatch(records);
  for (let i = 0; i < 20_000; i++) batch = new PickedBatch(batch, i === 0 ? [0, 2] : [0, 1]);
  expect([...batch.records()]).toEqual([records[0], records[2]]);
  expect(batch.weight).toBe(records.reduce((sum, { weight }) => sum + weight, 0));
});

test('what was read stays as it was when its batch is evicted, and who kept the batch gets nothing of others', () => {
  const hot = new HotTail(20_000, 0);
  const kept: { record: LogRecord; text: string }[] = [];
  const batches: { batch: RecordBatch; last: number }[] = [];
  let offset = 0;
  for (let push = 0; push < 400; push++) {
    const texts = Array.from({ length: 1 + (push % 7) }, () => `${++offset} `.padEnd((offset * 37) % 900, 'x'));
    const first = offset - texts.length + 1;
    const records = texts.map((text, i) => new LogRecord(first + i, push, message(`t/${(first + i) % 3}`, text)));
    const batch = encoded(records, topicHash, hot.memory);
    hot.push(batch);
    batches.push({ batch, last: offset });
    for (const [i, text] of texts.entries()) kept.push({ record: hot.at(first + i)!, text });
    if (push % 50 === 49) hot.remove('t/1', offset - 3);
  }
  for (const { record, text } of kept) expect(Buffer.from(record.data).toString()).toBe(text);
  const evicted = batches.filter(({ last }) => last <= hot.base);
  expect(evicted.length).toBeGreaterThan(300);
  for (const { batch } of evicted) expect(() => batch.record(0)).toThrow(RangeError);
});
