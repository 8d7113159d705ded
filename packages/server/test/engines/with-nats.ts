import { describe } from 'vitest';
import { natsProgram } from './nats-server.ts';

/** Suites that need NATS; `npm test` tells of those that did not run. */
export function withNats(name: string, suite: () => void): void {
  describe.skipIf(natsProgram === undefined)(name, suite);
}
