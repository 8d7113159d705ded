/** A growing buffer that encoders reuse from block to block; what leaves it is a copy of the exact size. */
export class Scratch {
  bytes: Buffer = Buffer.allocUnsafeSlow(96 * 1024);
  length = 0;

  clear(): void {
    this.length = 0;
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  /** Appends text of one-byte characters. */
  text(text: string): void {
    this.reserve(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }

  append(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  copy(): Buffer {
    const copy = Buffer.allocUnsafeSlow(this.length);
    this.bytes.copy(copy, 0, 0, this.length);
    // one huge record must not keep its size for ever
    if (this.bytes.length > 1024 * 1024) this.bytes = Buffer.allocUnsafeSlow(96 * 1024);
    return copy;
  }
}
