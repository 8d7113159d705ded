/** A power of two. */
const slots = 16 * 1024;
/** Longer names are not kept: there may be as many as slots. */
const longest = 128;

/**
 * Names of topics that came lately, by the hash of their bytes: most that come have come before, and a new text for each
 * record keeps the garbage collector busy.
 */
export class RecentTopics {
  readonly #names: (string | undefined)[] = new Array(slots);

  /** The topic whose name is from `start` to `end` of the bytes. Hot. */
  of(bytes: Buffer, start: number, end: number, hash: number): string {
    const slot = hash & (slots - 1);
    const known = this.#names[slot];
    if (known !== undefined && isText(known, bytes, start, end)) return known;
    const name = bytes.toString('utf8', start, end);
    if (name.length <= longest) this.#names[slot] = name;
    return name;
  }
}

/** Whether the bytes are this text; never of one that is not all ASCII, since its bytes are not its characters. */
function isText(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) {
    const code = bytes[start + i]!;
    if (code > 127 || text.charCodeAt(i) !== code) return false;
  }
  return true;
}
