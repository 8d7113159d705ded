import { TailraceError } from '@tailrace/protocol';
import type { Redis } from 'ioredis';
import type { Clock } from '../../log/clock.ts';
import { type GroupOptions, groupDefaults, type Receipt } from '../../log/group-store.ts';
import type { GroupLedger, LedgerAnswer, LedgerCall, LedgerRequest, LedgerStatus } from '../group-ledger.ts';
import { checkFilters, removedError } from '../ledger-groups.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import { callGroup, groupState, openGroup, statusOfGroup } from './scripts/group.ts';
import type { Script } from './scripts/script.ts';

type Argument = string | number;

export interface GroupCallsParts {
  readonly connection: RedisConnection;
  /** Of what waits for the server. */
  readonly clock: Clock;
  readonly keys: Keys;
  readonly group: string;
  readonly options: GroupOptions;
  /** Unlike that of any other node. */
  readonly node: string;
  /** Arguments that every script begins with. */
  readonly known: () => readonly Argument[];
  /** The number of the next call: higher than that of any before. */
  readonly nextNumber: () => number;
  /** Waits until replicas have what was written over this connection. */
  readonly replicated: (redis: Redis) => Promise<void>;
}

const pauseAfterError = 100;
/** How long a call is sent again, ms: well below the hour for which the server remembers it. */
const giveUpAfter = 10 * 60 * 1000;

/** One group in Redis, as one node asks for it: a call at a time, each done once. */
export class GroupCalls implements GroupLedger {
  readonly #parts: GroupCallsParts;
  readonly #keys: readonly string[];
  #next = 0;
  /** Epoch of the server in the answer before. */
  #epoch = 0;

  constructor(parts: GroupCallsParts) {
    this.#parts = parts;
    const { keys, group, node } = parts;
    this.#keys = [...keys.all, ...keys.ofGroup(group), keys.groupCallOf(node, group)];
  }

  /** Begins the group or finds it; resolves with how far it has come. */
  async open(after: number): Promise<number> {
    const { keys, group, options } = this.#parts;
    const filters = [...options.filters].sort().join('\n');
    const answer = (await this.#untilAnswered(openGroup, [...this.#keys, keys.groups], () => [
      filters,
      after,
      group,
    ])) as Buffer[];
    checkFilters(group, answer[0]!.toString().split('\n'), options.filters);
    this.#next = Number(answer[1]);
    return this.#next;
  }

  async run(asked: LedgerCall): Promise<LedgerAnswer> {
    const number = this.#parts.nextNumber();
    for (;;) {
      const answer = (await this.#untilAnswered(callGroup, this.#keys, () => argumentsOf(asked, number))) as number[];
      const [found, epoch] = answer;
      if (found === groupState.found) {
        this.#epoch = epoch!;
        this.#next = answer[2]!;
        return readAnswer(answer, asked.requests);
      }
      if (epoch === this.#epoch) throw removedError(this.#parts.group);
      // the server lost it together with what made it begin another epoch
      this.#epoch = epoch!;
      await this.open(this.#next);
    }
  }

  async status(): Promise<LedgerStatus> {
    const answer = (await this.#untilAnswered(statusOfGroup, this.#keys, () => [])) as number[];
    const [next, pending, due, oldest, missed] = answer as [number, number, number, number, number];
    return { next, pending, due, oldest: oldest === -1 ? undefined : oldest, missed };
  }

  async #untilAnswered(script: Script, keys: readonly string[], args: () => readonly Argument[]): Promise<unknown> {
    const { connection, clock, known, replicated } = this.#parts;
    const since = clock.monotonic();
    for (;;) {
      try {
        return await connection.ask(async redis => {
          const answer = await script.run(redis, keys, [...known(), ...args()]);
          await replicated(redis);
          return answer;
        });
      } catch (error) {
        if (error instanceof TailraceError) throw error;
        const { message } = error as Error;
        if (connection.isClosed) throw new TailraceError('draining', 'the log is closed');
        if (!isPassing(error)) throw unavailable(`Redis refuses calls of groups: ${message}`);
        if (clock.monotonic() - since > giveUpAfter) throw unavailable(`Redis does not answer: ${message}`);
      }
      await new Promise<void>(resolve => clock.after(pauseAfterError, resolve));
    }
  }
}

function unavailable(why: string): TailraceError {
  return new TailraceError('engine_unavailable', why, { retryAfter: 5000 });
}

function argumentsOf({ head, offer, requests }: LedgerCall, number: number): readonly Argument[] {
  const { pendingMost } = groupDefaults;
  const args: Argument[] = [number, head.epoch, head.offset, pendingMost, offer.from, offer.to, offer.offsets.length];
  for (const offset of offer.offsets) args.push(offset);
  for (const request of requests) {
    if (request.kind === 'claim') args.push('c', request.member, request.most, request.ms);
    else {
      args.push(request.kind[0]!, request.member, request.ms, request.receipts.length);
      for (const { offset, epoch, count } of request.receipts) args.push(offset, epoch, count);
    }
  }
  return args;
}

function readAnswer(answer: readonly number[], requests: readonly LedgerRequest[]): LedgerAnswer {
  const [, , next, dueIn, behind, full] = answer as [number, number, number, number, number, number];
  let at = 6;
  const results = requests.map(request => {
    if (request.kind !== 'claim') {
      const held = request.receipts.map(() => answer[at++] === 1);
      return { claimed: [], held };
    }
    const claimed: Receipt[] = [];
    for (let left = answer[at++]!; left > 0; left--, at += 3)
      claimed.push({ offset: answer[at]!, epoch: answer[at + 1]!, count: answer[at + 2]! });
    return { claimed, held: [] };
  });
  return { next, dueIn: dueIn === -1 ? undefined : dueIn, isBehind: behind === 1, isFull: full === 1, results };
}
