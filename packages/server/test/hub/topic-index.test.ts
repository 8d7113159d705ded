import { filterSet } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TopicIndex } from '../../src/hub/topic-index.ts';

class Target {
  readonly marks: number[] = [];
  mark(offset: number): void {
    this.marks.push(offset);
  }
}

const level = fc.constantFrom('a', 'b', 'ab', '$x', '+a', 'a+');
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map(levels => levels.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'));
const anyFilter = fc.oneof(filter, fc.constant('#'));
const sets = fc.array(fc.array(anyFilter, { minLength: 1, maxLength: 4 }), { maxLength: 12 });

describe('the topic index', () => {
  it('finds and marks exactly the targets whose filters match', () => {
    fc.assert(
      fc.property(sets, fc.array(topic, { minLength: 1, maxLength: 8 }), (filters, topics) => {
        const index = new TopicIndex<Target>();
        const entries = filters.map(list => ({ set: filterSet(list), target: new Target() }));
        for (const { set, target } of entries) index.add(set, target);
        topics.forEach((name, at) => {
          const expected = entries.filter(({ set }) => set.matches(name)).map(({ target }) => target);
          expect(index.match(name)).toEqual(new Set(expected));
          index.mark(name, at);
          for (const { set, target } of entries) expect(target.marks.includes(at)).toBe(set.matches(name));
        });
      }),
      { numRuns: 500 },
    );
  });

  it('is empty again when all have left, in whatever order', () => {
    fc.assert(
      fc.property(sets, fc.infiniteStream(fc.nat()), topic, (filters, order, name) => {
        const index = new TopicIndex<Target>();
        const entries = filters.map(list => ({ set: filterSet(list), target: new Target() }));
        for (const { set, target } of entries) index.add(set, target);
        const left = [...entries];
        while (left.length > 0) {
          const [gone] = left.splice(order.next().value! % left.length, 1);
          index.remove(gone!.set, gone!.target);
          expect(index.match(name)).toEqual(
            new Set(left.filter(({ set }) => set.matches(name)).map(({ target }) => target)),
          );
        }
        expect(index.filterCount).toBe(0);
        expect(index.isEmpty).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('is not disturbed by the removal of one that is not in it', () => {
    const index = new TopicIndex<Target>();
    const target = new Target();
    index.add(filterSet(['a/+']), target);
    index.remove(filterSet(['a/b/+']), new Target());
    index.remove(filterSet(['a/+']), new Target());
    expect(index.match('a/x')).toEqual(new Set([target]));
  });

  it('lets a target take itself out while it is being marked', () => {
    const index = new TopicIndex<{ mark(offset: number): void }>();
    const marked: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      for (const filters of [['a'], ['+']]) {
        const set = filterSet(filters);
        const target = {
          mark: () => {
            marked.push(name + filters[0]);
            index.remove(set, target);
          },
        };
        index.add(set, target);
      }
    }
    index.mark('a', 1);
    expect(marked.sort()).toEqual(['one+', 'onea', 'three+', 'threea', 'two+', 'twoa']);
    expect(index.isEmpty).toBe(true);
  });
});
