// Runs before each test file: in CI random tests begin with one fixed seed, so that a red run is red again; elsewhere
// with any. TEST_SEED names another.
import fc from 'fast-check';

const seed = process.env.TEST_SEED ?? (process.env.CI === 'true' ? '1' : undefined);
if (seed !== undefined) {
  if (!/^-?\d{1,10}$/.test(seed))
    throw new Error(`TEST_SEED is ${JSON.stringify(seed)}, not a whole number of at most 10 digits`);
  // for the simulations, see firstSeed
  process.env.TEST_SEED = seed;
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });
}
