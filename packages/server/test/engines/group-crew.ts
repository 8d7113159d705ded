import type { Group } from '../../src/log/group-store.ts';

/** Members at work: what they were given, what was acked, and what came again after its ack. */
export class Crew {
  readonly acked: Set<number> = new Set();
  readonly again: number[] = [];
  #works = true;
  readonly #members: Promise<void>[];

  constructor(groups: readonly Group[], each: number) {
    this.#members = groups.flatMap((group, i) =>
      Array.from({ length: each }, (_, n) => this.#work(group, `member ${i} ${n}`)),
    );
  }

  async stop(): Promise<void> {
    this.#works = false;
    await Promise.all(this.#members);
  }

  async #work(group: Group, member: string): Promise<void> {
    while (this.#works) {
      const { deliveries } = await group.claim(member, 3);
      for (const { offset } of deliveries) if (this.acked.has(offset)) this.again.push(offset);
      const done = await group.ack(member, deliveries);
      for (const [i, { offset }] of deliveries.entries()) if (done[i]) this.acked.add(offset);
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  }
}
