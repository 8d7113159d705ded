import { randomBytes } from 'node:crypto';

/** Randomness as the rooms below the server see it, so that one seed can replay a run (design §5). */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `length` characters of [a-z0-9], unguessable outside simulations. */
  id(length: number): string;
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

export const systemRandom: Random = {
  next: () => Math.random(),
  id(length) {
    let id = '';
    while (id.length < length) {
      for (const byte of randomBytes(length)) {
        // 252 = 7 × 36: bytes above would favour the first letters
        if (byte < 252 && id.length < length) id += alphabet[byte % 36];
      }
    }
    return id;
  },
};
