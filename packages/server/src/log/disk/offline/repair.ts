import * as path from 'node:path';
import type { LogReport } from '../../report.ts';
import { DeletionsDamaged, deletionsName, readDeletions, writeDeletions } from '../deletion/deletions-file.ts';
import { type Disk, errorCode } from '../files/disk.ts';
import { readEpochs, writeEpochs } from '../files/epochs-file.ts';
import { readIdentity, writeIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { refuseUnfinished } from '../files/unfinished.ts';
import { openDiskLog } from '../open-disk-log.ts';
import { epochsFromHeaders } from '../recovery/epochs-from-headers.ts';
import { copyAside, linkAside } from '../recovery/quarantine.ts';
import { describeDamage } from '../segment/damage.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { indexName, parseSegmentName } from '../segment/segment-name.ts';
import { type VerifyReport, verify } from './verify.ts';

export interface RepairReport {
  readonly before: VerifyReport;
  readonly after: VerifyReport;
  /** What was done, for people. */
  readonly steps: readonly string[];
}

/**
 * Brings a damaged log into a state that starts: saves every whole record, leaves out what is lost, keeps copies of what
 * was damaged in `quarantine/`. The server must not run. A new epoch begins, so that cursors into what is lost are told.
 */
export async function repair(directory: string, disk: Disk = nodeDisk): Promise<RepairReport> {
  await refuseUnfinished(directory, disk);
  const steps: string[] = [];
  const ownership = await disk.own(directory);
  let before: VerifyReport;
  try {
    before = await verify(directory, disk);
    await restoreIdentity(disk, directory, steps);
    await restoreEpochs(disk, directory, steps);
    await restoreDeletions(disk, directory, steps);
    // without its index a segment is scanned, and what is bad in it is met
    const damaged = new Set(before.damages.map(damage => indexName(damage.segment)));
    for (const index of await disk.list(directory)) {
      if (!index.endsWith('.idx') || !damaged.has(index)) continue;
      await disk.unlink(path.join(directory, index));
      steps.push(`removed ${index}, to be built anew`);
    }
  } finally {
    await ownership.release();
  }
  const onReport = (report: LogReport) => {
    steps.push(report.message);
  };
  const log = await openDiskLog({ directory, disk, acceptLoss: true, onReport });
  await log.close();
  return { before, after: await verify(directory, disk), steps: [...before.damages.map(describeDamage), ...steps] };
}

/** Characters of a damaged line that are told: what is left of a topic can be recognised. */
const shownOfLine = 600;

async function restoreIdentity(disk: Disk, directory: string, steps: string[]): Promise<void> {
  const known = await readIdentity(disk, directory).catch(() => undefined);
  if (known !== undefined) return;
  await keepDamaged(disk, directory, 'log.json');
  for (const name of await disk.list(directory)) {
    if (parseSegmentName(name) === undefined) continue;
    const header = await readHeader(disk, path.join(directory, name));
    if (typeof header === 'string') continue;
    await writeIdentity(disk, directory, { id: header.logId, secret: header.secret });
    steps.push(`restored log.json from the header of ${name}`);
    return;
  }
}

async function restoreEpochs(disk: Disk, directory: string, steps: string[]): Promise<void> {
  const known = await readEpochs(disk, directory).catch(() => undefined);
  if (known !== undefined) return;
  await keepDamaged(disk, directory, 'epochs');
  const epochs = await epochsFromHeaders(disk, directory);
  if (epochs === undefined) return;
  await writeEpochs(disk, directory, epochs);
  steps.push(`restored epochs from the headers of the segments: ${epochs.starts.length} found`);
}

async function restoreDeletions(disk: Disk, directory: string, steps: string[]): Promise<void> {
  const damaged = await readDeletions(disk, directory).catch((error: unknown) => {
    if (error instanceof DeletionsDamaged) return error;
    throw error;
  });
  if (!(damaged instanceof DeletionsDamaged)) return;
  const { readable, bad } = damaged;
  const kept = await copyOf(disk, directory, deletionsName).catch((error: unknown) => {
    if (errorCode(error) !== 'EIO') throw error;
    return linkAside(disk, directory, deletionsName);
  });
  await writeDeletions(disk, directory, readable);
  const topics = readable.map(({ topic }) => JSON.stringify(topic)).join(', ');
  const lines = bad.map(line => JSON.stringify(line.slice(0, shownOfLine))).join(', ');
  steps.push(
    `${deletionsName} was damaged, and is kept as ${kept}: ${readable.length === 0 ? 'no topic in it can be read' : `goes on deleting ${topics}`}`,
    `records of topics that were being deleted for good may be back: delete those again that stood in ${bad.length === 0 ? 'it' : `its damaged lines: ${lines}`}`,
  );
}

async function keepDamaged(disk: Disk, directory: string, name: string): Promise<void> {
  if (!(await disk.list(directory)).includes(name)) return;
  await copyOf(disk, directory, name);
  await disk.unlink(path.join(directory, name));
}

async function copyOf(disk: Disk, directory: string, name: string): Promise<string> {
  return copyAside(disk, directory, name, await readAll(disk, path.join(directory, name)));
}
