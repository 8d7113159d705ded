import { expect, test } from 'vitest';
import { sortByName } from '../../../src/log/disk/index/name-order.ts';
import { TopicNames } from '../../../src/log/disk/index/topic-names.ts';
import { topicHash } from '../../../src/log/topic-hash.ts';
import { firstSeed, SeededRandom } from '../seeded-random.ts';

const parts = ['a', 'site-', '0', '00', '/', 'temperature', 'ü', 'é', '€', '\ud7ff', '\ue000', '', '😀', '𐀀', '\0'];

/** Numbers in the order of the names, which are those of `topics`. */
async function sorted(topics: readonly string[], numbers = topics.map((_, number) => number)): Promise<number[]> {
  const names = new TopicNames(topicHash);
  for (const topic of topics) {
    const bytes = Buffer.from(topic);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    names.add(view, 0, bytes.length, topicHash.of(topic));
  }
  const order = Int32Array.from(numbers);
  await sortByName(order, names, () => undefined);
  return [...order];
}

test('names are in the order of strings, whatever they have in common', async () => {
  for (let run = 0, seed = firstSeed(); run < 60; run++, seed++) {
    const random = new SeededRandom(seed);
    const topics = new Set<string>();
    const wanted = random.pick([0, 1, 2, 30, 3000]);
    for (let tries = 0; tries < wanted * 2 && topics.size < wanted; tries++)
      topics.add(`t${Array.from({ length: 1 + random.below(9) }, () => random.pick(parts)).join('')}`);
    const list = [...topics];
    const numbers = list.map((_, number) => number).filter(() => random.chance(0.9));
    const order = (await sorted(list, numbers)).map(number => list[number]);
    expect(order, `seed ${seed}`).toEqual(numbers.map(number => list[number]!).sort());
  }
});

test('what takes four bytes sorts before what begins with 0xee and 0xef, as its surrogates do', async () => {
  const topics = ['x/\uffee', 'x/😀', 'x/\ue000', 'x/\ud7ff', 'x/z'];
  expect((await sorted(topics)).map(number => topics[number])).toEqual([...topics].sort());
});

test('names that differ by zeros at their end alone come to an end', async () => {
  const topics = Array.from({ length: 50 }, (_, zeros) => `t${'\0'.repeat(49 - zeros)}`);
  expect((await sorted(topics)).map(number => topics[number])).toEqual([...topics].sort());
});
