import type { Message } from '@tailrace/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BrokerEntry, type EntryHead, packEntry, readEntry } from '../../../src/engines/broker/entry.ts';
import { reach, type Verdict, Verdicts } from '../../../src/engines/broker/verdicts.ts';
import { EpochList } from '../../../src/log/epoch-list.ts';
import { message } from '../../log/messages.ts';

const oneEpoch = new EpochList([{ epoch: 1, first: 1 }]);

function entryAt(offset: number, head: Partial<EntryHead>, fields: Partial<Message> & { topic?: string }): BrokerEntry {
  const full: EntryHead = {
    node: 'aaaaaaaa',
    number: offset,
    seen: offset - 1,
    epoch: 1,
    isFirst: true,
    continues: false,
    isConditional: fields.expect !== undefined,
    ...head,
  };
  const { topic = 'a', ...rest } = fields;
  return readEntry({ offset, time: offset * 10, bytes: packEntry(full, message(topic, 'x', rest)) })!;
}

function judgeAll(entries: readonly BrokerEntry[], from = -1, epochs = oneEpoch): Verdict[] {
  const verdicts = new Verdicts(() => epochs, from);
  return entries.filter(({ offset }) => offset > from).map(entry => verdicts.judge(entry, entry.time));
}

function kindsOf(entries: readonly BrokerEntry[], epochs = oneEpoch): string[] {
  return judgeAll(entries, -1, epochs).map(({ kind }) => kind);
}

test('an entry that comes back as it was written is the same; a changed byte is noticed', () => {
  const entry = entryAt(
    7,
    { node: 'abcdefgh', number: 3, seen: 5, epoch: 4, continues: true },
    { id: 'x', expect: 0, key: 'k' },
  );
  expect(entry).toMatchObject({
    ...{ node: 'abcdefgh', number: 3, seen: 5, epoch: 4, isFirst: true, continues: true, isConditional: true },
    ...{ offset: 7, time: 70 },
  });
  const bytes = packEntry(entry, message('a', 'data'));
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes);
    changed[i]! ^= 1;
    expect(readEntry({ offset: 1, time: 1, bytes: changed })).toBeUndefined();
    expect(readEntry({ offset: 1, time: 1, bytes: bytes.subarray(0, i) })).toBeUndefined();
  }
});

test('of two that did not know of each other the first counts', () => {
  const other = { node: 'bbbbbbbb', seen: 0, number: 1 };
  expect(judgeAll([entryAt(1, {}, { id: 'x' }), entryAt(2, other, { id: 'x' })])).toEqual([
    { kind: 'taken' },
    { kind: 'duplicate', offset: 1, time: 10 },
  ]);
  expect(kindsOf([entryAt(1, {}, { id: 'x' }), entryAt(2, other, { id: 'x', topic: 'b' })])).toEqual([
    'taken',
    'taken',
  ]);
  const sequence = { producer: 'p', sequence: 3 };
  expect(kindsOf([entryAt(1, {}, sequence), entryAt(2, other, sequence)])).toEqual(['taken', 'duplicate']);
  expect(kindsOf([entryAt(1, {}, sequence), entryAt(2, other, { ...sequence, by: 'u' })])).toEqual(['taken', 'taken']);
  expect(judgeAll([entryAt(1, {}, { end: true }), entryAt(2, other, {})])[1]).toEqual({ kind: 'ended', offset: 1 });
  const keyed = { key: 'k', expect: 0 };
  expect(judgeAll([entryAt(1, {}, keyed), entryAt(2, other, keyed)])[1]).toEqual({ kind: 'unexpected', offset: 1 });
  expect(kindsOf([entryAt(1, {}, keyed), entryAt(2, other, { key: 'k' })])).toEqual(['taken', 'taken']);
});

test('what was not taken contradicts nothing', () => {
  const entries = [
    entryAt(1, {}, { key: 'k', expect: 0 }),
    entryAt(2, { node: 'bbbbbbbb', seen: 0, number: 1 }, { key: 'k', expect: 0, end: true, id: 'x' }),
    entryAt(3, { node: 'cccccccc', seen: 1, number: 1 }, { id: 'x' }),
  ];
  expect(kindsOf(entries)).toEqual(['taken', 'unexpected', 'taken']);
});

test('what is sent again counts once, and in its order whatever was lost of it', () => {
  const sent = (offset: number, number: number): BrokerEntry =>
    entryAt(offset, { number, seen: 0, isFirst: number === 1 }, {});
  expect(kindsOf([1, 2, 3, 1, 2, 3].map((number, i) => sent(i + 1, number)))).toEqual([
    ...['taken', 'taken', 'taken', 'repeated', 'repeated', 'repeated'],
  ]);
  expect(kindsOf([1, 3, 1, 2, 3].map((number, i) => sent(i + 1, number)))).toEqual([
    ...['taken', 'repeated', 'repeated', 'taken', 'taken'],
  ]);
  // a request that was given up, and comes when its node has sent another
  const late = [entryAt(1, { number: 5, seen: 0 }, {}), entryAt(2, { number: 4, seen: 0 }, {})];
  expect(kindsOf(late)).toEqual(['taken', 'repeated']);
});

test('an append stops where one of its messages cannot be taken', () => {
  const part = (offset: number, number: number, fields: Partial<Message>, continues = true): BrokerEntry =>
    entryAt(offset, { node: 'bbbbbbbb', number, seen: 0, isFirst: number === 1, continues }, fields);
  const entries = [
    entryAt(1, {}, { key: 'k', end: false }),
    part(2, 1, {}, false),
    part(3, 2, { key: 'k', expect: 0 }),
    part(4, 3, {}),
    part(5, 4, {}),
    part(6, 5, {}, false),
  ];
  expect(kindsOf(entries)).toEqual(['taken', 'taken', 'unexpected', 'abandoned', 'abandoned', 'taken']);
});

test('one that was judged by too old a state is judged again', () => {
  expect(kindsOf([entryAt(reach + 1, { seen: 1 }, {})])).toEqual(['taken']);
  expect(kindsOf([entryAt(reach + 2, { seen: 1 }, {})])).toEqual(['stale']);
  expect(kindsOf([entryAt(5, { seen: 5 }, {})])).toEqual(['stale']);
  const rewound = new EpochList([
    { epoch: 1, first: 1 },
    { epoch: 3, first: 4 },
  ]);
  // it had read what is lost since
  expect(kindsOf([entryAt(9, { seen: 5, epoch: 1 }, {})], rewound)).toEqual(['stale']);
  expect(kindsOf([entryAt(9, { seen: 3, epoch: 1 }, {})], rewound)).toEqual(['taken']);
  expect(kindsOf([entryAt(9, { seen: 5, epoch: 2 }, {})], rewound)).toEqual(['stale']);
  expect(kindsOf([entryAt(9, { seen: 5, epoch: 3 }, {})], rewound)).toEqual(['taken']);
});

/** What nodes may append: each request was judged by a state of some entries ago, and may be sent twice or in part. */
const histories = fc.array(
  fc.record({
    node: fc.nat(2),
    behind: fc.nat(12),
    fields: fc.array(
      fc.oneof(
        fc.constant({}),
        fc.record({ id: fc.constantFrom('x', 'y') }),
        fc.record({ producer: fc.constant('p'), sequence: fc.nat(3) }),
        fc.record({ key: fc.constantFrom('k', 'l'), expect: fc.constantFrom(undefined, 0) }),
        fc.constant({ topic: 'b', end: true }),
        fc.constant({ topic: 'b' }),
      ),
      { minLength: 1, maxLength: 4 },
    ),
    continues: fc.boolean(),
    again: fc.boolean(),
    lost: fc.nat(8),
  }),
  { maxLength: 30 },
);

test('whoever reads a stretch comes to the verdicts of who read all, or knows what is missing', () => {
  fc.assert(
    fc.property(histories, steps => {
      const entries: BrokerEntry[] = [];
      const numbers = [0, 0, 0];
      const seenBy = [0, 0, 0];
      for (const { node, behind, fields, continues, again, lost } of steps) {
        // a node reads on, and what it sent itself is behind it
        const seen = Math.max(seenBy[node]!, entries.length - behind);
        const heads = fields.map((one, i) => ({
          head: {
            node: 'abc'[node]!.repeat(8),
            number: ++numbers[node]!,
            seen,
            isFirst: i === 0,
            continues: continues && i > 0,
          },
          one,
        }));
        const send = (some: typeof heads): void => {
          for (const { head, one } of some) entries.push(entryAt(entries.length + 1, head, one));
        };
        send(heads.filter((_, i) => i !== lost - 4));
        if (again || lost >= 4) send(heads);
        seenBy[node] = entries.length;
      }
      const whole = judgeAll(entries);
      for (let from = 0; from < entries.length; from++) {
        for (const [i, verdict] of judgeAll(entries, from).entries()) {
          if (verdict.kind === 'open') expect(verdict.from).toBeLessThan(from);
          else expect(verdict).toEqual(whole[from + i]);
        }
      }
    }),
    { numRuns: 300 },
  );
});
