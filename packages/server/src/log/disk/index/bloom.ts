/** Bits for each topic: 8 with 4 probes let about 1 topic in 40 pass that is not there. */
const bitsPerTopic = 8;
const probes = 4;

export function newBloom(topics: number): Uint8Array {
  return new Uint8Array(Math.max(8, Math.ceil((topics * bitsPerTopic) / 8)));
}

export function addToBloom(bloom: Uint8Array, topic: string): void {
  const bits = bloom.length * 8;
  const [a, b] = hashes(topic);
  for (let i = 0; i < probes; i++) {
    const bit = ((a + Math.imul(i, b)) >>> 0) % bits;
    bloom[bit >>> 3]! |= 1 << (bit & 7);
  }
}

/** False: the topic was certainly never added. */
export function bloomMayHold(bloom: Uint8Array, topic: string): boolean {
  const bits = bloom.length * 8;
  const [a, b] = hashes(topic);
  for (let i = 0; i < probes; i++) {
    const bit = ((a + Math.imul(i, b)) >>> 0) % bits;
    if ((bloom[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** Two FNV-1a hashes over the UTF-16 units; the second odd, so that the probes differ. */
function hashes(topic: string): [number, number] {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < topic.length; i++) {
    const code = topic.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x5bd1e995);
    b ^= b >>> 15;
  }
  return [a >>> 0, (b | 1) >>> 0];
}
