import type { Command } from './command.ts';

/** A command that is loaded when it is asked for: `tailrace pub` must not pay for the server. */
export interface CatalogueEntry {
  readonly name: string;
  /** The same sentence as the command's own (a test ties them). */
  readonly summary: string;
  load(): Promise<Command>;
}

export const catalogue: readonly CatalogueEntry[] = [
  {
    name: 'serve',
    summary: 'Run the server (the default command).',
    load: async () => (await import('./serve.ts')).serve,
  },
  {
    name: 'pub',
    summary: 'Publish one message, or every line of standard input.',
    load: async () => (await import('./pub.ts')).pub,
  },
  {
    name: 'sub',
    summary: 'Print messages as they come, across disconnects and restarts.',
    load: async () => (await import('./sub.ts')).sub,
  },
  {
    name: 'replay',
    summary: 'Print what the log holds and end.',
    load: async () => (await import('./replay.ts')).replay,
  },
  {
    name: 'topics delete',
    summary: 'Delete what a topic holds for good.',
    load: async () => (await import('./topics-delete.ts')).topicsDelete,
  },
  {
    name: 'check',
    summary: 'Say what is wrong with the settings, without starting a server.',
    load: async () => (await import('./check.ts')).check,
  },
  {
    name: 'log verify',
    summary: 'Read a data directory offline and report every damaged frame.',
    load: async () => (await import('./log-verify.ts')).logVerify,
  },
  {
    name: 'log dump',
    summary: 'Print the records of a data directory offline.',
    load: async () => (await import('./log-dump.ts')).logDump,
  },
  {
    name: 'log repair',
    summary: 'Set damaged parts of a data directory aside, so that the server starts again.',
    load: async () => (await import('./log-repair.ts')).logRepair,
  },
  {
    name: 'log compact',
    summary: 'Remove from a stopped log what rules with keep let go of.',
    load: async () => (await import('./log-compact.ts')).logCompact,
  },
  {
    name: 'log stats',
    summary: 'Say what a data directory holds: segments, topics, epochs, times.',
    load: async () => (await import('./log-stats.ts')).logStats,
  },
  {
    name: 'log backup',
    summary: 'Copy the log of a data directory, in use or not, or what is new in it.',
    load: async () => (await import('./log-backup.ts')).logBackup,
  },
  {
    name: 'log restore',
    summary: 'Make a data directory from a backup.',
    load: async () => (await import('./log-restore.ts')).logRestore,
  },
];
