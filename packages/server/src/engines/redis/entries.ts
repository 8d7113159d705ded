import { isPackedAt } from '../packed-record.ts';
import type { Answer } from './answer.ts';
import { isLetterAt, readDigits, readEntry, type StreamEntry } from './entry.ts';

/** The entries of one stream in an answer, one after the other. A record is nothing but places there. */
export class Entries {
  readonly count: number;
  /** Of the record that it has come to: its bytes are from `start` to `end` of those of the answer. */
  offset = 0;
  time = 0;
  start = 0;
  end = 0;
  /** Set for the first record of an epoch. */
  epoch: number | undefined;
  /** Where the list begins that the entry is. */
  part: number;
  readonly #answer: Answer;
  #next: number;
  #left: number;

  /** `part`: the list of the entries. */
  constructor(answer: Answer, part: number) {
    this.#answer = answer;
    this.count = answer.length(part);
    this.#left = this.count;
    this.part = part;
    this.#next = part + 1;
  }

  /** The part behind all entries. */
  behind(): number {
    while (this.next());
    return this.#next;
  }

  /** All of the answer. */
  get bytes(): Buffer {
    return this.#answer.bytes;
  }

  /** Id in the stream of the entry that is at `part`, `<offset>-<n>`: n is 0 for a record. */
  idAt(part: number): string {
    return this.#answer.text(part + 1);
  }

  /** Whether there is another, which it has then come to. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    this.part = this.#next;
    // the list of the entry, its id, the list of its fields
    this.#next = this.part + 3 + Math.max(0, this.#answer.length(this.part + 2));
    return true;
  }

  /** Whether it is a whole record, which is read then. Hot. */
  isRecord(): boolean {
    const { bytes, view, parts } = this.#answer;
    const first = this.part + 3;
    const fields = this.#next - first;
    if (fields < 4 || !this.#isLetter(first, 'm') || !this.#isLetter(first + 2, 'r')) return false;
    this.start = parts[(first + 3) * 2]!;
    this.end = parts[(first + 3) * 2 + 1]!;
    if (!isPackedAt(bytes, view, this.start, this.end)) return false;
    this.offset = this.#number(this.part + 1);
    this.time = this.#number(first + 1);
    this.epoch = fields === 6 && this.#isLetter(first + 4, 'e') ? this.#number(first + 5) : undefined;
    return true;
  }

  /** What it is, when it is no record. Throws `log_damaged` for what Tailrace did not write. */
  other(): StreamEntry {
    const fields: Buffer[] = [];
    for (let part = this.part + 3; part < this.#next; part++) fields.push(this.#bytes(part));
    return readEntry([this.#bytes(this.part + 1), fields]);
  }

  #isLetter(part: number, letter: string): boolean {
    const { bytes, parts } = this.#answer;
    return isLetterAt(bytes, parts[part * 2]!, parts[part * 2 + 1]!, letter);
  }

  #number(part: number): number {
    const { bytes, parts } = this.#answer;
    return readDigits(bytes, parts[part * 2]!, parts[part * 2 + 1]!);
  }

  #bytes(part: number): Buffer {
    const { bytes, parts } = this.#answer;
    return bytes.subarray(parts[part * 2]!, parts[part * 2 + 1]!);
  }
}
