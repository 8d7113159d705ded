import { filterSet } from '@tailrace/protocol';
import type { Claim, Delivery, Group, GroupOptions, GroupStatus, GroupStore, Receipt } from '../group-store.ts';
import type { Vector } from './numbering.ts';
import { partitionsFor } from './partition-of.ts';

/** Groups of a log of several partitions: of each group there is one in every partition in which something may match. */
export class WovenGroups implements GroupStore {
  readonly #partitions: readonly GroupStore[];
  readonly #vectorAt: (place: number) => Vector;
  readonly #opened = new Map<string, WovenGroup>();

  /** `vectorAt`: how far each partition has been read by who stands at a place. */
  constructor(partitions: readonly GroupStore[], vectorAt: (place: number) => Vector) {
    this.#partitions = partitions;
    this.#vectorAt = vectorAt;
  }

  get opened(): readonly Group[] {
    return [...this.#opened.values()];
  }

  async open(name: string, options: GroupOptions): Promise<Group> {
    const vector = this.#vectorAt(options.after);
    const partitions = partitionsFor(filterSet(options.filters), this.#partitions.length);
    // the first partition has all groups: there it is decided what the filters of one are
    const asked = new Set([0, ...partitions]);
    const parts = new Map<number, Group>();
    for (const p of asked) parts.set(p, await this.#partitions[p]!.open(name, { ...options, after: vector[p]! }));
    const known = this.#opened.get(name);
    if (known !== undefined) return known;
    const group = new WovenGroup(parts, () => this.#opened.delete(name));
    this.#opened.set(name, group);
    return group;
  }

  async remove(name: string): Promise<void> {
    await Promise.all(this.#partitions.map(groups => groups.remove(name)));
  }

  names(): Promise<readonly string[]> {
    return this.#partitions[0]!.names();
  }
}

class WovenGroup implements Group {
  readonly name: string;
  readonly filters: readonly string[];
  readonly #parts: ReadonlyMap<number, Group>;
  readonly #onClose: () => void;
  /** Those that may have something for members, the one to ask first in front. */
  #order: (readonly [partition: number, part: Group])[];

  constructor(parts: ReadonlyMap<number, Group>, onClose: () => void) {
    this.#parts = parts;
    this.#onClose = onClose;
    this.#order = [...parts];
    ({ name: this.name, filters: this.filters } = parts.get(0)!);
  }

  get lastStatus(): GroupStatus | undefined {
    const all = [...this.#parts.values()].map(({ lastStatus }) => lastStatus);
    return all.includes(undefined) ? undefined : sumOf(all as GroupStatus[]);
  }

  /** Each partition is asked for its share, all at once; what some of them lack, those have more of are asked for. */
  async claim(member: string, most: number): Promise<Claim> {
    const [first, ...rest] = this.#order;
    this.#order = [...rest, first!];
    const deliveries: Delivery[] = [];
    let dueIn = Number.POSITIVE_INFINITY;
    let failure: PromiseRejectedResult | undefined;
    let left = [first!, ...rest];
    while (left.length > 0 && deliveries.length < most) {
      const wanted = most - deliveries.length;
      const asked = left.slice(0, wanted);
      const shares = asked.map((_, i) => Math.floor(wanted / asked.length) + (i < wanted % asked.length ? 1 : 0));
      const answers = await Promise.allSettled(asked.map(([, part], i) => part.claim(member, shares[i]!)));
      left = left.slice(asked.length);
      for (const [i, answer] of answers.entries()) {
        const [partition] = asked[i]!;
        if (answer.status === 'rejected') failure = answer;
        else {
          for (const delivery of answer.value.deliveries) deliveries.push({ ...delivery, partition });
          if (answer.value.deliveries.length === shares[i]) left.push(asked[i]!);
          else dueIn = Math.min(dueIn, answer.value.dueIn ?? Number.POSITIVE_INFINITY);
        }
      }
    }
    // what others gave is the member's already; who does not answer is asked again by its next claim
    if (failure !== undefined && deliveries.length === 0) throw failure.reason;
    if (left.length > 0 || failure !== undefined) return { deliveries, dueIn: 0 };
    return { deliveries, dueIn: dueIn === Number.POSITIVE_INFINITY ? undefined : dueIn };
  }

  ack(member: string, receipts: readonly Receipt[]): Promise<readonly boolean[]> {
    return this.#each(receipts, (part, theirs) => part.ack(member, theirs));
  }

  extend(member: string, receipts: readonly Receipt[], ms?: number): Promise<readonly boolean[]> {
    return this.#each(receipts, (part, theirs) => part.extend(member, theirs, ms));
  }

  retry(member: string, receipts: readonly Receipt[], delayMs: number): Promise<readonly boolean[]> {
    return this.#each(receipts, (part, theirs) => part.retry(member, theirs, delayMs));
  }

  async status(): Promise<GroupStatus> {
    return sumOf(await Promise.all([...this.#parts.values()].map(part => part.status())));
  }

  async close(): Promise<void> {
    this.#onClose();
    await Promise.all([...this.#parts.values()].map(part => part.close()));
  }

  /** Asks each partition for its receipts; answers in their order. */
  async #each(
    receipts: readonly Receipt[],
    ask: (part: Group, theirs: readonly Receipt[]) => Promise<readonly boolean[]>,
  ): Promise<readonly boolean[]> {
    const answers = receipts.map(() => false);
    await Promise.all(
      [...this.#parts].map(async ([partition, part]) => {
        const places = [...receipts.keys()].filter(i => receipts[i]!.partition === partition);
        if (places.length === 0) return;
        const told = await ask(
          part,
          places.map(i => receipts[i]!),
        );
        for (const [n, i] of places.entries()) answers[i] = told[n]!;
      }),
    );
    return answers;
  }
}

/** Of all partitions together. No offset can be told. */
function sumOf(all: readonly GroupStatus[]): GroupStatus {
  const sum = (of: (status: GroupStatus) => number): number => all.reduce((total, status) => total + of(status), 0);
  return {
    next: sum(({ next }) => next),
    lag: sum(({ lag }) => lag),
    lagMs: Math.max(...all.map(({ lagMs }) => lagMs)),
    pending: sum(({ pending }) => pending),
    due: sum(({ due }) => due),
    oldest: undefined,
    missed: sum(({ missed }) => missed),
  };
}
