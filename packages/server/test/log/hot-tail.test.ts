import { filterSet } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Batch } from '../../src/log/disk/commit/batch.ts';
import { BatchSpace } from '../../src/log/disk/commit/batch-space.ts';
import { OpenFiles } from '../../src/log/disk/files/open-files.ts';
import { Segment } from '../../src/log/disk/segment/segment.ts';
import { HotTail, LogRecord, PlainBatch, type RecordBatch } from '../../src/log/index.ts';
import { PickedBatch } from '../../src/log/record-batch.ts';
import { message, plain } from './messages.ts';

/** A batch that went through the encoding of the disk log. */
function encoded(records: readonly LogRecord[]): RecordBatch {
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
  const batch = new Batch(segment, 64, new BatchSpace(64), 0);
  for (const record of records) batch.add(record, record.offset, record.time);
  batch.close();
  batch.commitToIndex();
  const committed = batch.toRecords();
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

describe.each([
  ['plain', (records: readonly LogRecord[]): RecordBatch => new PlainBatch(records)],
  ['encoded', encoded],
])('a hot tail of %s batches', (_, toBatch) => {
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
          const hot = new HotTail(maxBytes, 0);
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
            hot.push(toBatch(records));
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
});

test('records picked from a batch again and again are read as soon as those picked once', () => {
  const records = [1, 2, 3].map(offset => new LogRecord(offset, 0, message('t', `${offset}`)));
  let batch: RecordBatch = new PlainBatch(records);
  for (let i = 0; i < 20_000; i++) batch = new PickedBatch(batch, i === 0 ? [0, 2] : [0, 1]);
  expect([...batch.records()]).toEqual([records[0], records[2]]);
  expect(batch.weight).toBe(records.reduce((sum, { weight }) => sum + weight, 0));
});
