import { TailraceError } from '@tailrace/protocol';
import type { Redis } from 'ioredis';
import { answerTimeout } from './connection.ts';

/** Waits until `replicas` have what was written over this connection; rejects with `outcome_unknown` when too few do. */
export async function replicated(redis: Redis, replicas: number): Promise<void> {
  if (replicas === 0) return;
  const count = Number(await redis.call('WAIT', replicas, answerTimeout - 1000));
  if (count < replicas)
    throw new TailraceError(
      'outcome_unknown',
      `${count} of ${replicas} replicas (redis.replicas) have it: it survives the primary, and may be lost with it; publish again with the same id`,
      { retryAfter: 1000 },
    );
}
