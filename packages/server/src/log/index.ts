export * from './capabilities.ts';
export * from './clock.ts';
export { DeletionsDamaged } from './disk/deletion/deletions-file.ts';
export type { DiskLog } from './disk/disk-log.ts';
export type { DiskLogOptions } from './disk/disk-log-options.ts';
export { DirectoryInUse, type Disk, type DiskFile } from './disk/files/disk.ts';
export { refuseUnfinished, UnfinishedCopy, unfinishedName } from './disk/files/unfinished.ts';
export { type BackupOptions, BackupRefused, type BackupReport, backup } from './disk/offline/backup.ts';
export type { BackupList } from './disk/offline/backup-list.ts';
export { type CompactOptions, type CompactReport, compact } from './disk/offline/compact.ts';
export { type DumpOptions, dump } from './disk/offline/dump.ts';
export { type RepairReport, repair } from './disk/offline/repair.ts';
export { type RestoreOptions, restore } from './disk/offline/restore.ts';
export { type LogStats, type StatsOptions, stats, type TopicStats } from './disk/offline/stats.ts';
export { type VerifyReport, verify } from './disk/offline/verify.ts';
export { openDiskLog } from './disk/open-disk-log.ts';
export { Gate } from './disk/read/gate.ts';
export { type Damage, describeDamage, LogDamaged } from './disk/segment/damage.ts';
export { covers } from './filters.ts';
export * from './group-store.ts';
export * from './hot-tail.ts';
export type { KeepRule } from './keep-rules.ts';
export * from './log.ts';
export { type MemoryLog, type MemoryLogOptions, openMemoryLog } from './memory/memory-log.ts';
export {
  type CommonLogOptions,
  type DedupeOptions,
  type KeepOptions,
  logDefaults,
  type PendingOptions,
  type RetentionOptions,
  type ScrubOptions,
} from './options.ts';
export type { Places } from './places.ts';
export * from './random.ts';
export * from './record.ts';
export * from './record-batch.ts';
export { bridgedTopic } from './refusals.ts';
export type { FilePlace, LogReport, OffsetRange } from './report.ts';
export type * from './shared-log.ts';
export { openSpool } from './spool/open-spool.ts';
export type { Spool } from './spool/spool.ts';
export { type Tables, tablesOf } from './tables.ts';
export type { Fitting, Misfit, Place, Tokens } from './tokens.ts';
export { wovenOf } from './woven/woven-log.ts';
