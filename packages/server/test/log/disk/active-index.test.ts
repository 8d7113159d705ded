import { filterSet } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { ActiveIndex } from '../../../src/log/disk/index/active-index.ts';
import { topicHash } from '../../../src/log/topic-hash.ts';
import { CollidingHash } from '../colliding-hash.ts';
import { firstSeed, SeededRandom } from '../seeded-random.ts';

/** As the encoded record has it: bytes somewhere in a buffer. */
function bytesOf(topic: string): { bytes: DataView; end: number } {
  const bytes = Buffer.concat([Buffer.from('...'), Buffer.from(topic), Buffer.from('...')]);
  return { bytes: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), end: bytes.length - 3 };
}

describe.each([
  ['topics', topicHash],
  ['topics that collide', new CollidingHash(1)],
])('an index of %s', (_, hash) => {
  test('answers as a Map of lists would', async () => {
    for (let run = 0, seed = firstSeed(); run < 20; run++, seed++) {
      const random = new SeededRandom(seed);
      const index = new ActiveIndex(64, hash);
      const known = new Map<string, number>();
      const lists = new Map<string, { positions: number[]; offset: number; time: number }>();
      const names = Array.from({ length: random.pick([1, 5, 300, 1500]) }, () => {
        const long = random.chance(0.05) ? 'x'.repeat(random.below(3000)) : '';
        return `t/${random.id(1 + random.below(4))}${random.pick(['', '/ü€😀', '/\0'])}${long}`;
      });
      for (let record = 0; record < 2000; record++) {
        const topic = random.pick(names);
        const { bytes, end } = bytesOf(topic);
        const number = index.numberFor(bytes, 3, end, index.hash.ofBytes(bytes, 3, end));
        expect(number, `seed ${seed}`).toBe(known.get(topic) ?? known.size);
        known.set(topic, number);
        // one that is never committed
        if (random.chance(0.1)) continue;
        const list = lists.get(topic) ?? { positions: [], offset: 0, time: 0 };
        list.positions.push(64 + record * 100);
        list.offset = record + 1;
        list.time = 1000 + record;
        lists.set(topic, list);
        index.add(number, 64 + record * 100, record + 1, 1000 + record);
      }
      expect(index.topicCount).toBe(known.size);
      expect([...index.all()].map(({ topic }) => topic).sort()).toEqual([...lists.keys()].sort());
      const sorted = [...lists.keys()].sort((a, b) => (a < b ? -1 : 1));
      expect((await index.topics('t/', '', 5000)).map(({ topic }) => topic)).toEqual(sorted);
      const prefix = names[0]!.slice(0, 3);
      const after = random.pick(names);
      expect((await index.topics(prefix, after, 7)).map(({ topic }) => topic)).toEqual(
        sorted.filter(topic => topic.startsWith(prefix) && topic > after).slice(0, 7),
      );
      const matching = await index.matching(filterSet(['t/+']));
      for (const [topic, number] of known) {
        const list = lists.get(topic);
        expect(index.mayHold(topic)).toBe(list !== undefined);
        expect(await index.postings(topic), `seed ${seed}`).toEqual(list && Uint32Array.from(list.positions));
        const [first] = await index.topics(topic, '', 1);
        if (list !== undefined)
          expect(first).toMatchObject({ topic, number, lastOffset: list.offset, lastTime: list.time });
        expect(matching.has(number)).toBe(!topic.slice(2).includes('/'));
      }
      expect(index.mayHold('t/none')).toBe(false);
      expect(await index.postings('t/none')).toBeUndefined();
    }
  });

  test('takes the numbers that a file says, in any order and with some left out', async () => {
    const index = new ActiveIndex(64, hash);
    for (const [topic, number] of [
      ['c', 100],
      ['a', 2],
      ['b', 40],
    ] as const) {
      const { bytes, end } = bytesOf(topic);
      index.topicAs(bytes, 3, end, number);
      index.add(number, 64 + number, number, 0);
    }
    expect([...index.all()].map(({ topic, number }) => [topic, number])).toEqual([
      ['a', 2],
      ['b', 40],
      ['c', 100],
    ]);
    expect(index.has(3)).toBe(false);
    expect(await index.postings('b')).toEqual(Uint32Array.of(104));
    expect(index.numberOf('d')).toBe(-1);
    expect(index.topicCount).toBe(101);
  });
});
