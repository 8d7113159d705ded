import { randomFillSync } from 'node:crypto';

/** Randomness as the rooms below the server see it, so that one seed can replay a run (design §5). */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `length` characters of [a-z0-9], unguessable outside simulations. */
  id(length: number): string;
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Random bytes drawn ahead: one call into the generator for each would cost more than all the rest of an id. */
const pool = Buffer.alloc(1024);
let used = pool.length;

function randomByte(): number {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const byte = pool[used]!;
  // no id can be learnt from memory that was not cleared
  pool[used++] = 0;
  return byte;
}

export const systemRandom: Random = {
  next: () => Math.random(),
  id(length) {
    let id = '';
    while (id.length < length) {
      const byte = randomByte();
      // 252 = 7 × 36: bytes above would favour the first letters
      if (byte < 252) id += alphabet[byte % 36];
    }
    return id;
  },
};
