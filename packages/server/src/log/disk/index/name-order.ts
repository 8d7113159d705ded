import type { Pause } from './index-writer.ts';
import type { TopicNames } from './topic-names.ts';

/** So few are sorted by looking at whole names. */
const few = 12;

/**
 * Sorts topics, which `numbers` are of, by their names as strings are compared. Four bytes of every name at a time, for which
 * no name becomes a string: those of hundreds of thousands would keep the garbage collector busy.
 *
 *     word 0      iot/ │ iot/ iot/ iot/ iot/ │ web/      three parts: below, the same, above
 *     word 1             site site site site             only those that are the same so far have to look at the next
 *     word 2             -01/ -01/ │ -02/ -02/
 */
export async function sortByName(numbers: Int32Array, names: TopicNames, pause: Pause): Promise<void> {
  const words = new Int32Array(numbers.length);
  // parts that are still to be sorted: where each begins and ends, and how many bytes all of its names have in common
  const parts = [0, numbers.length, 0];
  while (parts.length > 0) {
    const common = parts.pop()!;
    const end = parts.pop()!;
    const start = parts.pop()!;
    if (end - start <= few || !readWords(numbers, names, start, end, common, words))
      sortFew(numbers, names, start, end, common);
    else splitByWord(numbers, words, start, end, common, parts);
    const waiting = pause(end - start);
    if (waiting !== undefined) await waiting;
  }
}

/** The words behind what the names have in common; false when there are none. */
function readWords(
  numbers: Int32Array,
  names: TopicNames,
  start: number,
  end: number,
  common: number,
  words: Int32Array,
): boolean {
  let longest = 0;
  for (let i = start; i < end; i++) {
    const number = numbers[i]!;
    words[i] = names.wordAt(number, common);
    longest = Math.max(longest, names.bytesOf(number));
  }
  return longest > common;
}

/** Sorts by the words; those with the same one are left as further `parts`. */
function splitByWord(
  numbers: Int32Array,
  words: Int32Array,
  start: number,
  end: number,
  common: number,
  parts: number[],
): void {
  const open = [start, end];
  while (open.length > 0) {
    const high = open.pop()!;
    const low = open.pop()!;
    if (high - low < 2) continue;
    const pivot = median(words[low]!, words[(low + high) >>> 1]!, words[high - 1]!);
    let below = low;
    let above = high;
    for (let i = low; i < above; ) {
      const word = words[i]!;
      if (word < pivot) swap(numbers, words, i++, below++);
      else if (word > pivot) swap(numbers, words, i, --above);
      else i++;
    }
    if (above - below > 1) parts.push(below, above, common + 4);
    open.push(low, below, above, high);
  }
}

function sortFew(numbers: Int32Array, names: TopicNames, start: number, end: number, common: number): void {
  for (let i = start + 1; i < end; i++) {
    const number = numbers[i]!;
    let at = i;
    for (; at > start && names.compare(numbers[at - 1]!, number, common) > 0; at--) numbers[at] = numbers[at - 1]!;
    numbers[at] = number;
  }
}

function swap(numbers: Int32Array, words: Int32Array, a: number, b: number): void {
  const number = numbers[a]!;
  const word = words[a]!;
  numbers[a] = numbers[b]!;
  words[a] = words[b]!;
  numbers[b] = number;
  words[b] = word;
}

function median(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
