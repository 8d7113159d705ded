import type { LedgerAnswer, LedgerStatus } from '../../group-ledger.ts';
import type { Asked, Command } from './command.ts';
import { GroupState, type SavedGroup } from './group-state.ts';
import { SteppingTime, type SteppingTimeState } from './stepping-time.ts';
import { ToldLog, type ToldLogState } from './told-log.ts';

export type Answer =
  | { readonly kind: 'opened'; readonly filters: readonly string[]; readonly next: number }
  | { readonly kind: 'called'; readonly answer: LedgerAnswer }
  | { readonly kind: 'status'; readonly status: LedgerStatus }
  | { readonly kind: 'names'; readonly names: readonly string[] }
  /** There is no such group. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'done' };

interface NodeState {
  /** Of the newest command that counted. */
  readonly number: number;
  readonly heardAt: number;
}

interface SavedFold {
  readonly time: SteppingTimeState;
  readonly log: ToldLogState;
  readonly nodes: readonly (readonly [string, NodeState])[];
  readonly groups: readonly (readonly [string, SavedGroup])[];
}

/** How far the clocks of brokers that lead in turn are apart, and how late what a node sends may come, ms. */
const leadersDiffer = 1000;
const nodesDiffer = 60_000;
/** Nodes beyond these are forgotten when they have been silent for so long, ms: far longer than a command is repeated. */
const nodesMost = 100;
const silenceMost = 60 * 60 * 1000;

/**
 * What all commands so far come to. Every node applies all of them in the order of the ledger, and nothing else comes in, so
 * that all have the same answer to each.
 */
export class LedgerFold {
  readonly #time = new SteppingTime();
  readonly #log = new ToldLog();
  readonly #nodes = new Map<string, NodeState>();
  readonly #groups = new Map<string, GroupState>();

  /** Of the log, as the ledger has heard. */
  get newestEpoch(): number {
    return this.#log.newestEpoch;
  }

  get logId(): string {
    return this.#log.id;
  }

  /** Number of the newest command of the node that counted; 0 for none. */
  numberOf(node: string): number {
    return this.#nodes.get(node)?.number ?? 0;
  }

  /** The next command of the ledger, which the broker took at `time`; undefined when it is a repetition. */
  apply(command: Command, time: number): Answer | undefined {
    const now = command.at === undefined ? this.#time.at(time, leadersDiffer) : this.#time.at(command.at, nodesDiffer);
    const { node, number } = command;
    if (number <= this.numberOf(node)) return undefined;
    this.#heard(node, number, now);
    this.#hear(command);
    return this.#answer(command, now);
  }

  save(): Buffer {
    const saved: SavedFold = {
      time: this.#time.state,
      log: this.#log.state,
      nodes: [...this.#nodes],
      groups: [...this.#groups].map(([name, group]) => [name, group.save()]),
    };
    return Buffer.from(JSON.stringify(saved));
  }

  static from(bytes: Buffer): LedgerFold {
    const { time, log, nodes, groups } = JSON.parse(bytes.toString()) as SavedFold;
    const fold = new LedgerFold();
    fold.#time.restore(time);
    fold.#log.restore(log);
    for (const [node, state] of nodes) fold.#nodes.set(node, state);
    for (const [name, group] of groups) fold.#groups.set(name, GroupState.from(group));
    return fold;
  }

  #heard(node: string, number: number, now: number): void {
    this.#nodes.set(node, { number, heardAt: now });
    if (this.#nodes.size <= nodesMost) return;
    for (const [other, { heardAt }] of this.#nodes) if (heardAt < now - silenceMost) this.#nodes.delete(other);
  }

  /** Takes what the node knows of the log. */
  #hear({ log }: Command): void {
    const groups = [...this.#groups.values()];
    // by the epochs that were known before
    const epochs = groups.map(({ next }) => this.#log.epochOf(next));
    const change = this.#log.take(log);
    if (change === 'none') return;
    for (const [i, group] of groups.entries())
      if (change === 'epoch') group.goBack(this.#log, epochs[i]!);
      else group.begin(this.#log.floor);
  }

  #answer({ asked, log }: Command, now: number): Answer {
    switch (asked.kind) {
      case 'open':
        return this.#open(asked, log.id);
      case 'remove':
        this.#groups.delete(asked.group);
        return { kind: 'done' };
      case 'names':
        return { kind: 'names', names: [...this.#groups.keys()].sort() };
      case 'status': {
        const group = this.#groups.get(asked.group);
        return group === undefined ? { kind: 'missing' } : { kind: 'status', status: group.status(now) };
      }
      case 'call': {
        const { call, pendingMost } = asked;
        const isBehind = !this.#log.has(log.id, call.head);
        const context = { log: this.#log, isBehind, pendingMost, now };
        const answer = this.#groups.get(asked.group)?.run(call, context);
        return answer === undefined ? { kind: 'missing' } : { kind: 'called', answer };
      }
      case 'checkpoint':
        return { kind: 'done' };
    }
  }

  #open({ group: name, filters, after, epoch }: Asked & { readonly kind: 'open' }, logId: string): Answer {
    let group = this.#groups.get(name);
    if (group === undefined) {
      const { id, floor } = this.#log;
      // what a node knows of a log that is gone tells nothing of this one
      const next = logId === id ? Math.max(floor, Math.min(after, this.#log.endOf(epoch))) : floor;
      group = new GroupState(filters, next);
      this.#groups.set(name, group);
    }
    return { kind: 'opened', filters: group.filters, next: group.next };
  }
}
