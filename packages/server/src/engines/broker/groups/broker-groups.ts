import { type GroupOptions, groupDefaults } from '../../../log/group-store.ts';
import type { GroupLedger, LedgerAnswer, LedgerCall, LedgerStatus } from '../../group-ledger.ts';
import { checkFilters, type GroupLedgers, type OpenedLedger, removedError } from '../../ledger-groups.ts';
import type { Answer } from './ledger-fold.ts';
import type { LedgerReplica } from './ledger-replica.ts';

export interface BrokerGroupsParts {
  /** Opens the ledger, which is made if it is missing: a log without groups has none. */
  readonly openLedger: () => Promise<LedgerReplica>;
  /** The epoch of an offset of the log. */
  readonly epochOf: (offset: number) => number;
}

/** The groups of a log behind a broker: all in one ledger beside it, whatever their number. */
export class BrokerGroups implements GroupLedgers {
  readonly #parts: BrokerGroupsParts;
  #opening: Promise<LedgerReplica> | undefined;

  constructor(parts: BrokerGroupsParts) {
    this.#parts = parts;
  }

  async open(group: string, options: GroupOptions): Promise<OpenedLedger> {
    const { epochOf } = this.#parts;
    const ledger = new BrokerLedger({ replica: await this.#ledger(), group, options, epochOf });
    return { ledger, next: await ledger.open(options.after) };
  }

  async remove(group: string): Promise<void> {
    await (await this.#ledger()).ask({ kind: 'remove', group });
  }

  async names(): Promise<readonly string[]> {
    const { names } = as('names', await (await this.#ledger()).ask({ kind: 'names' }));
    return names;
  }

  async close(): Promise<void> {
    const replica = await this.#opening?.catch(() => undefined);
    await replica?.close();
  }

  #ledger(): Promise<LedgerReplica> {
    if (this.#opening === undefined) {
      this.#opening = this.#parts.openLedger();
      this.#opening.catch(() => {
        this.#opening = undefined;
      });
    }
    return this.#opening;
  }
}

interface BrokerLedgerParts {
  readonly replica: LedgerReplica;
  readonly group: string;
  readonly options: GroupOptions;
  readonly epochOf: (offset: number) => number;
}

/** One group, as one node asks for it. */
class BrokerLedger implements GroupLedger {
  readonly #parts: BrokerLedgerParts;
  #next = 0;
  /** Resets of the ledger when it was there last. */
  #resets = 0;

  constructor(parts: BrokerLedgerParts) {
    this.#parts = parts;
  }

  /** Begins the group or finds it; resolves with how far it has come. */
  async open(after: number): Promise<number> {
    const { replica, group, options, epochOf } = this.#parts;
    const answer = await replica.ask({ kind: 'open', group, filters: options.filters, after, epoch: epochOf(after) });
    const { filters, next } = as('opened', answer);
    checkFilters(group, filters, options.filters);
    this.#resets = replica.resets;
    this.#next = next;
    return next;
  }

  async run(call: LedgerCall): Promise<LedgerAnswer> {
    const { group } = this.#parts;
    const { pendingMost } = groupDefaults;
    const { answer } = as('called', await this.#found({ kind: 'call', group, pendingMost, call }));
    this.#next = answer.next;
    return answer;
  }

  async status(): Promise<LedgerStatus> {
    const { status } = as('status', await this.#found({ kind: 'status', group: this.#parts.group }));
    return status;
  }

  async #found(asked: Parameters<LedgerReplica['ask']>[0]): Promise<Answer> {
    const { replica, group } = this.#parts;
    for (;;) {
      const answer = await replica.ask(asked);
      if (answer.kind !== 'missing') {
        this.#resets = replica.resets;
        return answer;
      }
      if (replica.resets === this.#resets) throw removedError(group);
      // the ledger lost it
      await this.open(this.#next);
    }
  }
}

function as<Kind extends Answer['kind']>(kind: Kind, answer: Answer): Answer & { readonly kind: Kind } {
  if (answer.kind !== kind) throw new Error(`the ledger answered with ${answer.kind} and not ${kind}`);
  return answer as Answer & { readonly kind: Kind };
}
