const carriageReturn = 13;
const zero = 48;
const kinds = { text: 36, list: 42, error: 45, number: 58, simple: 43 } as const;

/** Above, memory is not kept for the next answer. */
const keptBytes = 1024 * 1024;

/**
 * An answer of Redis (RESP2) as it came, and where its parts are in it. The client library makes an object of each part,
 * five a record, which took half of a tail's time.
 *
 *   bytes   *2 CRLF $1 CRLF m CRLF *-1 CRLF …        parts   a list of 2 │ a text, from 8 to 9 │ nothing │ …
 */
export class Answer {
  /** What the places of parts are in. It changes with the next answer. */
  bytes: Buffer = Buffer.alloc(0);
  view: DataView = viewOf(this.bytes);
  /** Of each part two numbers: where a text begins and ends; of a list how many parts it has and -1; of nothing -1 twice. */
  parts: Int32Array<ArrayBuffer> = new Int32Array(1024);
  count = 0;
  /** Set when Redis refuses what it was asked. */
  error: string | undefined;
  /** Bytes that came, and up to where they have been read. */
  #filled = 0;
  #read = 0;
  /** Parts that are still to come. */
  #awaited = 1;
  #memory: Buffer = Buffer.alloc(64 * 1024);

  /** Bytes of it that have come. */
  get size(): number {
    return this.#filled;
  }

  /** What comes next is another answer. */
  clear(): void {
    this.count = 0;
    this.error = undefined;
    this.#filled = 0;
    this.#read = 0;
    this.#awaited = 1;
    if (this.#memory.length > keptBytes) this.#memory = Buffer.alloc(64 * 1024);
  }

  /** Takes what came next; says whether the answer is whole. Throws when Redis says what it was not asked. Hot. */
  take(chunk: Buffer): boolean {
    // what comes in one piece is read where it lies
    if (this.#filled === 0) this.bytes = chunk;
    else this.#copy(chunk, this.#filled);
    this.#filled += chunk.length;
    this.view = viewOf(this.bytes);
    this.#scan();
    if (this.#awaited === 0) {
      if (this.#read < this.#filled) throw new Error('Redis answers more than it was asked');
      return true;
    }
    if (this.#filled === chunk.length) this.#copy(chunk, 0);
    return false;
  }

  /** The text that a part is. */
  text(part: number): string {
    return this.bytes.toString('latin1', this.parts[part * 2], this.parts[part * 2 + 1]);
  }

  /** How many parts the list has that a part is. */
  length(part: number): number {
    return this.parts[part * 2]!;
  }

  #copy(chunk: Buffer, at: number): void {
    if (at + chunk.length > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#memory.length * 2, at + chunk.length));
      this.#memory.copy(larger, 0, 0, at);
      this.#memory = larger;
    }
    chunk.copy(this.#memory, at);
    this.bytes = this.#memory;
  }

  #scan(): void {
    const { bytes } = this;
    const end = this.#filled;
    let at = this.#read;
    while (this.#awaited > 0) {
      let lineEnd = at + 1;
      let number = 0;
      while (lineEnd < end && bytes[lineEnd] !== carriageReturn) number = number * 10 + bytes[lineEnd++]! - zero;
      if (lineEnd + 1 >= end) break;
      const next = lineEnd + 2;
      const isNothing = lineEnd === at + 3 && bytes[at + 1] === 45 && bytes[at + 2] === zero + 1;
      const kind = bytes[at];
      if ((kind === kinds.text || kind === kinds.list) && isNothing) this.#add(-1, -1);
      else if (kind === kinds.text) {
        // its own end is two bytes more
        if (next + number + 2 > end) break;
        this.#add(next, next + number);
        at = next + number + 2;
        this.#awaited--;
        continue;
      } else if (kind === kinds.list) {
        this.#add(number, -1);
        this.#awaited += number;
      } else if (kind === kinds.number || kind === kinds.simple) this.#add(at + 1, lineEnd);
      else if (kind === kinds.error) this.error = bytes.toString('utf8', at + 1, lineEnd);
      else throw new Error(`Redis answers in a way that is not known: ${kind}`);
      at = next;
      this.#awaited--;
    }
    this.#read = at;
  }

  #add(first: number, second: number): void {
    const at = this.count++ * 2;
    if (at === this.parts.length) {
      const larger = new Int32Array(at * 2);
      larger.set(this.parts);
      this.parts = larger;
    }
    this.parts[at] = first;
    this.parts[at + 1] = second;
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
