import { expect, test } from 'vitest';
import type { Delivery, Group } from '../../src/log/group-store.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message, until } from '../log/messages.ts';
import { firstSeed, SeededRandom } from '../log/seeded-random.ts';
import type { GroupSubject } from './group-contract.ts';

const ackDeadline = 5000;

/** What the group promised about one record so far. */
interface Held {
  count: number;
  member: string | undefined;
  /** When it may be given to somebody else. */
  due: number;
  delivery: Delivery;
}

/** Follows all that a group answers, and throws when two have one record or one that was acked comes again. */
class Witness {
  readonly acked = new Set<number>();
  readonly held = new Map<number, Held>();

  claimed(member: string, deliveries: readonly Delivery[], now: number): void {
    for (const delivery of deliveries) {
      const { offset, count } = delivery;
      const before = this.held.get(offset);
      if (this.acked.has(offset)) throw new Error(`${offset} was acked and comes again`);
      if (before !== undefined && before.due > now)
        throw new Error(`${offset} is ${before.member}'s until ${before.due}, and ${member} gets it at ${now}`);
      if (count !== (before?.count ?? 0) + 1) throw new Error(`${offset} comes with count ${count}`);
      this.held.set(offset, { count, member, due: now + ackDeadline, delivery });
    }
  }

  /** Whether this delivery is still the newest of its record, and its member's. */
  isHeld(member: string, { offset, count }: Delivery): boolean {
    const held = this.held.get(offset);
    return held !== undefined && held.member === member && held.count === count;
  }
}

/** One run: two nodes, members that work, dawdle, let go, come too late and die, and time that passes and goes back. */
async function run(seed: number, subject: GroupSubject): Promise<void> {
  const random = new SeededRandom(seed);
  const clock = new ManualClock();
  const opened = await subject.open(clock, 2);
  const nodes = opened.map(({ log }) => log);
  const options = { filters: ['job/#'], after: 0, ackDeadline };
  const groups: Group[] = await Promise.all(opened.map(({ groups }) => groups.open('work', options)));
  const witness = new Witness();
  const mine = new Map<string, Delivery[]>();
  const expected = new Set<number>();
  const members = Array.from({ length: 6 }, (_, i) => `member ${i}`);
  let floor = 0;

  const append = async (): Promise<void> => {
    const messages = Array.from({ length: 1 + random.below(12) }, () =>
      message(random.chance(0.6) ? `job/${random.below(3)}` : 'other'),
    );
    const results = await random.pick(nodes).append(messages, 'fsync');
    for (const [i, result] of results.entries())
      if (messages[i]!.topic !== 'other' && 'offset' in result) expected.add(result.offset);
  };
  const claim = async (member: string): Promise<void> => {
    const now = clock.now();
    const { deliveries } = await random.pick(groups).claim(member, 1 + random.below(5));
    witness.claimed(member, deliveries, now);
    mine.set(member, [...(mine.get(member) ?? []), ...deliveries]);
  };
  const some = (member: string): Delivery[] => (mine.get(member) ?? []).filter(() => random.chance(0.5));
  const checked = (member: string, asked: readonly Delivery[], told: readonly boolean[]): Delivery[] => {
    // what was trimmed may be forgotten any time
    const held = asked.map((delivery, i) => witness.isHeld(member, delivery) && (delivery.offset > floor || told[i]!));
    expect(told).toEqual(held);
    return asked.filter((_, i) => told[i]);
  };

  const steps: (() => Promise<void>)[] = [
    append,
    append,
    async () => {
      await Promise.all(members.filter(() => random.chance(0.5)).map(claim));
    },
    async () => claim(random.pick(members)),
    async () => {
      const member = random.pick(members);
      const asked = some(member);
      for (const { offset } of checked(member, asked, await random.pick(groups).ack(member, asked))) {
        witness.acked.add(offset);
        witness.held.delete(offset);
      }
      mine.set(
        member,
        (mine.get(member) ?? []).filter(delivery => !asked.includes(delivery)),
      );
    },
    async () => {
      const member = random.pick(members);
      const asked = some(member);
      const ms = 1 + random.below(20_000);
      for (const { offset } of checked(member, asked, await random.pick(groups).extend(member, asked, ms)))
        witness.held.get(offset)!.due = clock.now() + ms;
    },
    async () => {
      const member = random.pick(members);
      const asked = some(member);
      const ms = random.below(20_000);
      for (const { offset } of checked(member, asked, await random.pick(groups).retry(member, asked, ms))) {
        const held = witness.held.get(offset)!;
        held.due = clock.now() + ms;
        held.member = undefined;
      }
    },
    // a member dies, and knows nothing any more
    async () => void mine.delete(random.pick(members)),
    async () => clock.advance(random.below(4000)),
    async () => clock.advance(random.below(200)),
    async () => {
      if (random.chance(0.8)) return;
      floor = Math.max(floor, nodes[0]!.head.offset - 40);
      await nodes[0]!.trim(floor);
      for (const offset of expected) if (offset <= floor) expected.delete(offset);
    },
  ];

  for (let i = 0; i < 120; i++) await random.pick(steps)();
  await until('both nodes have read all', () => nodes[0]!.head.offset === nodes[1]!.head.offset);
  for (let i = 0; ; i++) {
    if (i === 1000) throw new Error('the work never ends');
    const [one, other] = [groups[i % 2]!, groups[(i + 1) % 2]!];
    const now = clock.now();
    const { deliveries, dueIn } = await one.claim('last', 7);
    witness.claimed('last', deliveries, now);
    expect(await other.ack('last', deliveries)).toEqual(deliveries.map(() => true));
    for (const { offset } of deliveries) witness.acked.add(offset);
    if (deliveries.length > 0) continue;
    if (dueIn === undefined) break;
    clock.advance(dueIn);
  }
  expect([...expected].filter(offset => !witness.acked.has(offset))).toEqual([]);
  expect(await groups[0]!.status()).toMatchObject({ lag: 0, pending: 0, due: 0, oldest: undefined });
  for (const node of nodes) await node.close();
}

/** Runs so many histories, each from a seed of its own. */
export function groupHistories(subject: GroupSubject, runs: number): void {
  test("no record is two members' at a time, none is lost, and none comes again after its ack", async () => {
    const first = firstSeed();
    for (let seed = first; seed < first + runs; seed++)
      await run(seed, subject).catch(error => {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      });
  }, 60_000);
}
