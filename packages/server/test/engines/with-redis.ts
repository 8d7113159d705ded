import { describe } from 'vitest';
import { redisProgram } from './redis-program.ts';

/** Suites that need Redis; `npm test` tells of those that did not run. */
export function withRedis(name: string, suite: () => void): void {
  describe.skipIf(redisProgram === undefined)(name, suite);
}
