// From here on one typed array view and whole words cost less than the bytes one by one: at 130 bytes 39 ns
// against 58 ns, at 64 KiB 11 GB/s against 2.4 GB/s; at 64 bytes they are equal.
const WORDS_FROM = 96;

const wordBytes = new Uint8Array(4);
const word = new Int32Array(wordBytes.buffer);

/**
 * Masks or unmasks `bytes[start, end)` in place (RFC 6455 §5.3).
 * `key` is the masking key as a big-endian 32-bit integer: its top byte falls on `bytes[start]`.
 */
export function unmask(bytes: Uint8Array, start: number, end: number, key: number): void {
  if (key === 0) return;
  if (end - start < WORDS_FROM) {
    unmaskBytes(bytes, start, end, key);
    return;
  }
  // Words must lie on a multiple of four in the underlying memory, wherever the payload begins.
  const lead = -(bytes.byteOffset + start) & 3;
  const aligned = start + lead;
  unmaskBytes(bytes, start, aligned, key);
  const turned = rotateKey(key, lead);
  const count = (end - aligned) >>> 2;
  unmaskWords(new Int32Array(bytes.buffer, bytes.byteOffset + aligned, count), turned);
  unmaskBytes(bytes, aligned + count * 4, end, turned);
}

/** The key as it falls on the byte `count` bytes further on. */
export function rotateKey(key: number, count: number): number {
  const bits = (count & 3) * 8;
  // a shift by 32 is a shift by 0
  return bits === 0 ? key : (key << bits) | (key >>> (32 - bits));
}

function unmaskBytes(bytes: Uint8Array, start: number, end: number, key: number): void {
  const k0 = key >>> 24;
  const k1 = (key >>> 16) & 0xff;
  const k2 = (key >>> 8) & 0xff;
  const k3 = key & 0xff;
  let at = start;
  for (; at + 3 < end; at += 4) {
    bytes[at]! ^= k0;
    bytes[at + 1]! ^= k1;
    bytes[at + 2]! ^= k2;
    bytes[at + 3]! ^= k3;
  }
  if (at < end) bytes[at]! ^= k0;
  if (at + 1 < end) bytes[at + 1]! ^= k1;
  if (at + 2 < end) bytes[at + 2]! ^= k2;
}

function unmaskWords(words: Int32Array, key: number): void {
  // through bytes, so that the word is right whatever the machine's byte order
  wordBytes[0] = key >>> 24;
  wordBytes[1] = key >>> 16;
  wordBytes[2] = key >>> 8;
  wordBytes[3] = key;
  const native = word[0]!;
  for (let at = 0; at < words.length; at++) words[at]! ^= native;
}
