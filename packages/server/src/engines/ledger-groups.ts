import { filterSet, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../log/clock.ts';
import type { Group, GroupOptions, GroupStore } from '../log/group-store.ts';
import type { GroupLedger } from './group-ledger.ts';
import { LedgerGroup, type LedgerGroupParts } from './ledger-group.ts';

/** The ledgers of all groups of a log, behind one server. */
export interface GroupLedgers {
  /** Begins the group or finds it. Rejects with `bad_request` when it has other filters. */
  open(name: string, options: GroupOptions): Promise<OpenedLedger>;
  /** Forgets it. */
  remove(name: string): Promise<void>;
  names(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface OpenedLedger {
  readonly ledger: GroupLedger;
  /** How far the group has come. */
  readonly next: number;
}

export interface LedgerGroupsParts {
  readonly ledgers: GroupLedgers;
  readonly clock: Clock;
  readonly log: LedgerGroupParts['log'];
}

const nameMost = 256;
/** How often the groups of this node are asked where they stand, for whoever watches, ms. */
const statusEvery = 15_000;

/** The groups of a log that lives in a server. */
export class LedgerGroups implements GroupStore {
  readonly #parts: LedgerGroupsParts;
  readonly #groups = new Map<string, Promise<LedgerGroup>>();
  readonly #opened = new Set<LedgerGroup>();
  #stopStatus: (() => void) | undefined;

  constructor(parts: LedgerGroupsParts) {
    this.#parts = parts;
  }

  get opened(): readonly Group[] {
    return [...this.#opened];
  }

  open(name: string, options: GroupOptions): Promise<Group> {
    if (name === '' || name.length > nameMost)
      return Promise.reject(new TailraceError('bad_request', `the name of a group has 1 to ${nameMost} characters`));
    const known = this.#groups.get(name);
    if (known !== undefined)
      return known.then(group => {
        checkFilters(name, group.filters, options.filters);
        return group;
      });
    const opening = this.#open(name, options);
    this.#groups.set(name, opening);
    opening.catch(() => this.#groups.delete(name));
    return opening;
  }

  remove(name: string): Promise<void> {
    return this.#parts.ledgers.remove(name);
  }

  async names(): Promise<readonly string[]> {
    return [...(await this.#parts.ledgers.names())].sort();
  }

  async close(): Promise<void> {
    this.#stopStatus?.();
    await this.#parts.ledgers.close();
  }

  async #open(name: string, options: GroupOptions): Promise<LedgerGroup> {
    const { ledgers, clock, log } = this.#parts;
    // throws for what is no filter before the server hears of it
    filterSet(options.filters);
    const { ledger, next } = await ledgers.open(name, options);
    const group = new LedgerGroup({
      name,
      options,
      next,
      log,
      ledger,
      onClose: () => {
        this.#opened.delete(group);
        this.#groups.delete(name);
      },
    });
    this.#opened.add(group);
    group.status().catch(() => {});
    this.#stopStatus ??= clock.every(statusEvery, () => {
      for (const one of this.#opened) one.status().catch(() => {});
    });
    return group;
  }
}

/** Throws `bad_request` when they are not the same. */
export function checkFilters(group: string, theirs: readonly string[], ours: readonly string[]): void {
  if ([...theirs].sort().join('\n') === [...ours].sort().join('\n')) return;
  throw new TailraceError(
    'bad_request',
    `group "${group}" is there with other filters (${theirs.join(', ')}): name them, or take another name`,
  );
}

/** What a member is told whose group somebody forgot. */
export function removedError(group: string): TailraceError {
  return new TailraceError('bad_request', `group "${group}" was removed: open it again if it is wanted`);
}
