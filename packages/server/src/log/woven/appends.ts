import { type Message, TailraceError } from '@tailrace/protocol';
import type { Appended, AppendFailure, Log } from '../log.ts';
import type { StoredDurability } from '../record.ts';
import { addressOf } from './numbering.ts';
import type { Spread } from './spread.ts';

type Result = Appended | AppendFailure;

/**
 * Appends to the partitions of the messages' topics, all at once. Each stops at its first failure, so that what lies behind
 * it in the same call may have been appended to another: who is told of it publishes the rest again with their ids.
 */
export class WovenAppends {
  readonly #partitions: readonly Log[];
  readonly #spread: Spread;

  constructor(partitions: readonly Log[], spread: Spread) {
    this.#partitions = partitions;
    this.#spread = spread;
  }

  async append(messages: readonly Message[], durability: StoredDurability): Promise<readonly Result[]> {
    const spread = this.#spread;
    const first = messages.length === 0 ? 0 : spread.partitionOf(messages[0]!.topic);
    if (messages.every(({ topic }) => spread.partitionOf(topic) === first))
      return this.#appendTo(first, messages, durability);
    const places = new Map<number, number[]>();
    for (const [i, { topic }] of messages.entries()) {
      const partition = spread.partitionOf(topic);
      const indices = places.get(partition);
      if (indices === undefined) places.set(partition, [i]);
      else indices.push(i);
    }
    const results: (Result | undefined)[] = new Array(messages.length).fill(undefined);
    await Promise.all(
      [...places].map(async ([partition, indices]) => {
        const own = indices.map(i => messages[i]!);
        // one that takes nothing says so of its first, beside what others have taken
        const told = await this.#appendTo(partition, own, durability).catch((error: unknown) => [{ error } as Result]);
        for (const [i, result] of told.entries()) results[indices[i]!] = result;
      }),
    );
    const failed = results.findIndex(result => result === undefined || 'error' in result);
    if (failed === -1) return results as readonly Result[];
    const failure = results[failed] as AppendFailure;
    // nothing before it was taken: it fails as a whole where no other took anything either
    if (!results.some(result => result !== undefined && !('error' in result))) throw failure.error;
    return [...results.slice(0, failed), { error: failure.error }] as readonly Result[];
  }

  async #appendTo(
    partition: number,
    messages: readonly Message[],
    durability: StoredDurability,
  ): Promise<readonly Result[]> {
    const results = await this.#partitions[partition]!.append(messages, durability);
    return results.map(result =>
      'error' in result ? { error: addressed(result.error, partition) } : { ...result, partition },
    );
  }
}

/** What a failed expectation met is named by what finds it in the woven log. */
function addressed(error: Error, partition: number): Error {
  if (!(error instanceof TailraceError) || error.current === undefined || error.current === null) return error;
  const current = { ...error.current, offset: addressOf(partition, error.current.offset) };
  return new TailraceError(error.code, error.message, { current, ...(error.at === undefined ? {} : { at: error.at }) });
}
