import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { pino } from 'pino';
import type { Config } from './config/index.ts';
import { openBridged, openSharedLog } from './engines/open-shared-log.ts';
import { keepOptions } from './keep-options.ts';
import {
  capabilitiesOf,
  type DedupeOptions,
  type Disk,
  engineOf,
  type Log,
  type LogReport,
  openDiskLog,
  openMemoryLog,
  openSpool,
  type Spool,
  systemClock,
  systemRandom,
  wovenOf,
} from './log/index.ts';
import type { Metrics } from './observe/index.ts';
import { spoolRule } from './room-options.ts';

/** What is decided for one start and is no setting. */
export interface StartOptions {
  /** Goes on after corruption of the log, without what is lost. */
  readonly acceptLoss?: boolean;
  /** Takes the data directory from an owner that hangs and cannot be stopped. */
  readonly takeOver?: boolean;
  /** Where the log lives instead of on the file system: the seam through which disks fail in tests. */
  readonly disk?: Disk;
  /** Another process has taken over the data directory: this server can only close. */
  readonly onReplaced?: () => void;
}

/** Largest record that the log's format takes, and what a record may have beside its data, bytes. */
const recordMax = 32 * 1024 * 1024;
const recordOverhead = 64 * 1024;

const clock = systemClock;
const random = systemRandom;

/** Opens the log that the settings name, with what they bridge. */
export async function openLog(
  config: Config,
  { acceptLoss, takeOver, disk, onReplaced }: StartOptions,
  metrics: Metrics,
  logger: pino.Logger,
): Promise<Log> {
  const common = {
    clock,
    random,
    hotBytes: config.hot.bytes,
    retention: {
      age: config.retention.age ?? undefined,
      bytes: config.retention.bytes ?? undefined,
      graceMs: config.retention.grace,
    },
    dedupe: dedupeOf(config),
    endedTopics: config.ended.topics,
    pending: config.pending,
    keep: keepOptions(config),
    keyIndexBytes: config.keys.bytes,
    recordBytes: recordBytesOf(config),
    onReport: ({ level, message, ...report }: LogReport) => {
      logger[level](report, message);
      if (report.kind === 'owner_lost') onReplaced?.();
    },
    onCommitStats: metrics.onCommit,
  };
  const bridged = await awake(openBridged(config, common));
  try {
    if (capabilitiesOf[engineOf(config.engine)].shared)
      return await awake(openSharedLog(config, { ...common, bridged }));
    const own =
      config.engine === 'memory'
        ? openMemoryLog(common)
        : await openDiskLog({
            ...common,
            directory: config.data,
            segmentBytes: config.segment.bytes,
            scrub: { intervalMs: config.scrub.interval, bytesPerSecond: config.scrub.rate },
            acceptLoss,
            takeOver,
            disk,
          });
    return wovenOf([own], { hotBytes: config.hot.bytes, bridged });
  } catch (error) {
    await Promise.all(bridged.map(({ log }) => log.close()));
    throw error;
  }
}

/** While it is tried again to reach a server nothing else may keep the process from ending without a word. */
function awake<T>(opening: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1000);
  return opening.finally(() => clearInterval(timer));
}

/** What was left in a spool is shipped although no rule asks for one any more. */
export async function openSpoolOf(
  config: Config,
  engine: Log,
  { disk }: StartOptions,
  logger: pino.Logger,
): Promise<Spool | undefined> {
  const directory = join(config.data, 'spool');
  if (!engine.capabilities.shared || (spoolRule(config) === undefined && !existsSync(directory))) return undefined;
  return openSpool({
    directory,
    engine,
    clock,
    disk,
    bytesMax: config.spool.bytes,
    dedupe: dedupeOf(config),
    pending: config.pending,
    recordBytes: recordBytesOf(config),
    onReport: ({ level, message, ...report }) => logger[level](report, message),
  });
}

function dedupeOf({ dedupe: { ids, age, limit, producers } }: Config): DedupeOptions {
  return { ids, ageMs: age, limit, producers };
}

function recordBytesOf({ limits }: Config): number {
  return Math.min(recordMax, limits.message + recordOverhead);
}
