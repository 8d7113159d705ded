import { describe } from 'vitest';
import { findKafka } from './kafka-program.ts';

/** Suites that need Kafka; `npm test` tells of those that did not run. */
export function withKafka(name: string, suite: () => void): void {
  describe.skipIf(findKafka() === undefined)(name, suite);
}
