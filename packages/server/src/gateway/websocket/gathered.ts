const FIRST_CAPACITY = 256;
const NOTHING = Buffer.alloc(0);

/**
 * A payload that arrives in pieces, kept in one buffer that grows by doubling: a list of the pieces would cost an
 * object a byte when the peer sends single bytes, and would pin the whole chunk each piece was cut from. It grows
 * with what has arrived, never with what a header merely announces.
 */
export class Gathered {
  length = 0;
  private bytes: Buffer = NOTHING;

  /** Copies `chunk[start, end)` behind what is there. `atMost`: a bound on the final length, in bytes. */
  append(chunk: Buffer, start: number, end: number, atMost: number): void {
    const needed = this.length + end - start;
    if (needed > this.bytes.length) this.grow(Math.min(atMost, Math.max(FIRST_CAPACITY, needed * 2)));
    chunk.copy(this.bytes, this.length, start, end);
    this.length = needed;
  }

  /** All that was appended, as a view. Nothing may be appended afterwards. */
  take(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  private grow(capacity: number): void {
    // not from Node's pool: a slow peer's few bytes would hold the pool's slab
    const grown = Buffer.allocUnsafeSlow(capacity);
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }
}
