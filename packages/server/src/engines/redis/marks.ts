import type { Redis } from 'ioredis';
import type { DeletionNote } from './entry.ts';
import type { Keys } from './keys.ts';

/** Topics that ended or were deleted, as the server has them. */
export interface Marks {
  /** Oldest first. */
  readonly ended: readonly { readonly topic: string; readonly offset: number }[];
  /** `pending`: the stream still holds some of the topic. */
  readonly deleted: readonly (DeletionNote & { readonly pending: boolean })[];
}

export async function readMarks(redis: Redis, keys: Keys): Promise<Marks> {
  const [ended, deleted] = await Promise.all([redis.hgetall(keys.ended), redis.hgetall(keys.deleted)]);
  return {
    ended: Object.entries(ended)
      .map(([topic, offset]) => ({ topic, offset: Number(offset) }))
      .sort((one, other) => one.offset - other.offset),
    deleted: Object.entries(deleted).map(([topic, mark]) => {
      const [upTo, table, pending] = mark.split(' ');
      return { topic, upTo: Number(upTo), table: table === '1', pending: pending === '1' };
    }),
  };
}
