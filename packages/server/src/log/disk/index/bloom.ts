/** Bits for each topic: 8 with 4 probes let about 1 topic in 40 pass that is not there. */
const bitsPerTopic = 8;
const probes = 4;

export function newBloom(topics: number): Uint8Array {
  return new Uint8Array(Math.max(8, Math.ceil((topics * bitsPerTopic) / 8)));
}

/** The name is what is between `start` and `end`, in UTF-8. */
export function addToBloom(bloom: Uint8Array, bytes: Buffer, start: number, end: number): void {
  if (!hashAscii(bytes, start, end)) hashUnits(bytes.toString('utf8', start, end));
  const bits = bloom.length * 8;
  for (let i = 0; i < probes; i++) {
    const bit = ((first + Math.imul(i, second)) >>> 0) % bits;
    bloom[bit >>> 3]! |= 1 << (bit & 7);
  }
}

/** False: the topic was certainly never added. */
export function bloomMayHold(bloom: Uint8Array, topic: string): boolean {
  const bits = bloom.length * 8;
  hashUnits(topic);
  for (let i = 0; i < probes; i++) {
    const bit = ((first + Math.imul(i, second)) >>> 0) % bits;
    if ((bloom[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** Two FNV-1a hashes over the UTF-16 units of the last name; the second odd, so that the probes differ. */
let first = 0;
let second = 0;

const firstSeed = 0x811c9dc5;
const secondSeed = 0x9747b28c;

function hashUnits(topic: string): void {
  let a = firstSeed;
  let b = secondSeed;
  for (let i = 0; i < topic.length; i++) {
    const unit = topic.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x5bd1e995);
    b ^= b >>> 15;
  }
  first = a;
  second = b | 1;
}

/** The same without a string, as long as each byte is one unit; false when one is not. */
function hashAscii(bytes: Buffer, start: number, end: number): boolean {
  let a = firstSeed;
  let b = secondSeed;
  for (let i = start; i < end; i++) {
    const unit = bytes[i]!;
    if (unit > 0x7f) return false;
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x5bd1e995);
    b ^= b >>> 15;
  }
  first = a;
  second = b | 1;
  return true;
}
