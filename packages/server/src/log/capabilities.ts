import type { StoredDurability } from './record.ts';

/**
 * What an engine can do. One table of it, `capabilitiesOf`, is read by `tailrace check`, by the server when it opens a log,
 * by the contract suite and by the test that keeps docs/clusters.md true. What is missing is refused or warned of by name
 * where it is asked for.
 */
export interface LogCapabilities {
  /**
   * Classes whose promise the ack of an append can keep. An append that names another is kept as well as the log can: only
   * who promised that class to somebody has to look here first.
   */
  readonly durabilities: readonly StoredDurability[];
  /** Several servers have one log. */
  readonly shared: boolean;
  /** Rules with `keep` remove records. Tables are tables without it, too. */
  readonly keeps: boolean;
  /** A topic can be deleted for good; what retention leaves of it stays otherwise. */
  readonly deletes: boolean;
  /** Members of work groups share records. */
  readonly groups: boolean;
  /** What goes at once when something is trimmed. */
  readonly trims: 'segments' | 'records';
}

export type EngineName = 'disk' | 'memory' | 'redis' | 'kafka' | 'nats';

/** What each can do at best: a server behind a shared log may be set to keep less. */
export const capabilitiesOf: Readonly<Record<EngineName, LogCapabilities>> = {
  disk: {
    durabilities: ['fsync', 'written'],
    shared: false,
    keeps: true,
    deletes: true,
    groups: false,
    trims: 'segments',
  },
  memory: { durabilities: [], shared: false, keeps: false, deletes: true, groups: false, trims: 'records' },
  redis: {
    durabilities: ['fsync', 'written'],
    shared: true,
    keeps: false,
    deletes: true,
    groups: true,
    trims: 'records',
  },
  kafka: {
    durabilities: ['fsync', 'written'],
    shared: true,
    keeps: false,
    deletes: false,
    groups: true,
    trims: 'records',
  },
  nats: {
    durabilities: ['fsync', 'written'],
    shared: true,
    keeps: false,
    deletes: false,
    groups: true,
    trims: 'records',
  },
};

/** The engine that the setting `engine` names. */
export function engineOf(setting: string): EngineName {
  if (setting === 'disk' || setting === 'memory') return setting;
  if (/^(nats|tls):/.test(setting)) return 'nats';
  return setting.startsWith('kafka') ? 'kafka' : 'redis';
}
