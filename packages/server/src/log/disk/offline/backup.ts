import * as path from 'node:path';
import { restingClock } from '../../clock.ts';
import { checkCheckpoint } from '../dedupe/checkpoint-format.ts';
import { deletionsName, type PendingDeletion, readDeletions, writeDeletions } from '../deletion/deletions-file.ts';
import { type Branch, readBranch } from '../files/branch.ts';
import { type Disk, errorCode, ignoreMissing } from '../files/disk.ts';
import { type EpochsFile, readEpochs, writeEpochs } from '../files/epochs-file.ts';
import { type Identity, readIdentity, writeIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { replaceFile } from '../files/replace-file.ts';
import { markFinished, markUnfinished, refuseUnfinished } from '../files/unfinished.ts';
import { IndexCache } from '../index/index-cache.ts';
import { type Pause, pauses } from '../index/index-writer.ts';
import { openSealed } from '../index/sealed-index.ts';
import { Gate } from '../read/gate.ts';
import { takenSegments } from '../recovery/generation.ts';
import { describeDamage, LogDamaged } from '../segment/damage.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { endOfScan, type SegmentScan, scanning } from '../segment/scan.ts';
import { Segment } from '../segment/segment.ts';
import type { SegmentHeader } from '../segment/segment-header.ts';
import { indexName, parseCheckpointName, type SegmentName } from '../segment/segment-name.ts';
import { inSlices } from '../segment/slices.ts';
import { type BackupList, listName, readBackupList, writeBackupList } from './backup-list.ts';
import { copyFile } from './copy-file.ts';
import { verify } from './verify.ts';
import { readWhole, writeWhole } from './whole-files.ts';

export interface BackupOptions {
  readonly disk?: Disk | undefined;
  /** Time that the backup says it was made, ms since 1970 UTC. */
  readonly now: number;
  /** Reads every byte of the backup before it counts. */
  readonly verify: boolean;
}

export interface BackupReport {
  readonly id: string;
  /** The newest offset that is in the backup. */
  readonly head: number;
  readonly segments: number;
  readonly bytes: number;
  /** Files taken this time by a hard link, and by a copy; files that were there, and files that went. */
  readonly linked: number;
  readonly copied: number;
  readonly kept: number;
  readonly removed: number;
  readonly verified: boolean;
}

/** A directory that cannot be backed up, or not to there: for people. */
export class BackupRefused extends Error {
  override readonly name = 'BackupRefused';
}

/**
 * Copies the log of a directory, in use or not, into another one: complete segments by hard link where the file system can,
 * of the last one what is whole, synced. All that was acknowledged before it began is in it, deletions of topics too.
 */
export function backup(directory: string, to: string, options: BackupOptions): Promise<BackupReport> {
  return new Backup(directory, to, options).run();
}

/** How often the log may change under a backup (a start, retention, a rewrite) before it gives up. */
const attempts = 20;

class Backup {
  readonly #directory: string;
  readonly #to: string;
  readonly #disk: Disk;
  readonly #options: BackupOptions;
  #deletions: readonly PendingDeletion[] = [];
  /** One that was finished is in its place already. */
  #replaces = false;
  #files: { name: string; bytes: number }[] = [];
  #there = new Set<string>();
  #head = 0;
  #linked = 0;
  #copied = 0;
  #kept = 0;
  #linksWork = true;
  /** The server that writes to the log wants the core, too. */
  readonly #pause: Pause = pauses(restingClock);

  constructor(directory: string, to: string, options: BackupOptions) {
    this.#directory = directory;
    this.#to = to;
    this.#disk = options.disk ?? nodeDisk;
    this.#options = options;
  }

  async run(): Promise<BackupReport> {
    const disk = this.#disk;
    await refuseUnfinished(this.#directory, disk);
    const identity = await readIdentity(disk, this.#directory);
    if (identity === undefined) throw new BackupRefused(`there is no log.json in ${this.#directory}`);
    await disk.makeDirectory(this.#to);
    // a backup is of the same directory as what it is a backup of
    const branch = (await readBranch(disk, this.#directory)) ?? (await readBackupList(disk, this.#directory))?.branch;
    const before = await this.#before(identity);
    this.#replaces = before !== undefined;
    if (before !== undefined) this.#checkBranch(before, branch);
    if (before === undefined) await markUnfinished(disk, this.#to, 'backup');
    const epochs = await this.#takeAll(identity, before);
    await writeIdentity(disk, this.#to, identity);
    await writeEpochs(disk, this.#to, epochs);
    await writeDeletions(disk, this.#to, this.#deletions);
    if (this.#options.verify) await this.#verify();
    await disk.syncDirectory(this.#to);
    await markFinished(disk, this.#to);
    await writeBackupList(disk, this.#to, {
      id: identity.id,
      secret: Buffer.from(identity.secret).toString('hex'),
      branch,
      head: this.#head,
      made: this.#options.now,
      epochs,
      deletions: this.#deletions,
      files: this.#files,
    });
    const removed = await this.#removeOthers();
    const segments = this.#files.filter(({ name }) => name.endsWith('.log'));
    return {
      id: identity.id,
      head: this.#head,
      segments: segments.length,
      bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
      linked: this.#linked,
      copied: this.#copied,
      kept: this.#kept,
      removed,
      verified: this.#options.verify,
    };
  }

  /** The backup that is there already. */
  async #before({ id }: Identity): Promise<BackupList | undefined> {
    if ((await this.#disk.list(this.#to)).includes('term'))
      throw new BackupRefused(`a server has run on ${this.#to}, so it is no backup: choose another directory`);
    const list = await readBackupList(this.#disk, this.#to);
    const other = list?.id ?? (await readIdentity(this.#disk, this.#to).catch(() => undefined))?.id ?? id;
    if (other !== id)
      throw new BackupRefused(`${this.#to} holds a backup of another log, ${other}: choose another directory`);
    return list;
  }

  async #takeAll(identity: Identity, before: BackupList | undefined): Promise<EpochsFile> {
    for (let attempt = 1; ; attempt++) {
      const epochs = await readEpochs(this.#disk, this.#directory);
      if (epochs === undefined) throw new BackupRefused(`there is no file epochs in ${this.#directory}`);
      if (before !== undefined) this.#checkHistory(before, epochs);
      try {
        // one that is done meanwhile is gone after it, and its records are in files that were taken by then
        const { pending: asked } = await readDeletions(this.#disk, this.#directory);
        await this.#takeSegments(identity, epochs);
        const { pending } = await readDeletions(this.#disk, this.#directory);
        this.#deletions = newestOf([...asked, ...pending]);
        const after = await readEpochs(this.#disk, this.#directory);
        // a start in between: its epoch belongs to what was taken last
        if (JSON.stringify(after) === JSON.stringify(epochs)) return epochs;
      } catch (error) {
        // retention or a rewrite took a file away that was listed
        if (errorCode(error) !== 'ENOENT' || attempt === attempts) throw error;
      }
      if (attempt === attempts)
        throw new BackupRefused(`the log in ${this.#directory} changed ${attempts} times while it was read: try again`);
    }
  }

  /** Two directories of one log: what each went on with is not in the other. */
  #checkBranch(before: BackupList, branch: Branch | undefined): void {
    if (before.branch?.tag === branch?.tag) return;
    throw new BackupRefused(
      `${this.#to} holds a backup of ${told(before.branch)}, and ${this.#directory} is ${told(branch)}: their records are not the same. Choose another directory for ${this.#directory}, or remove ${this.#to} if what it is a backup of is given up`,
    );
  }

  /** A log that was restored and went on has other records at the same offsets. */
  #checkHistory(before: BackupList, epochs: EpochsFile): void {
    const newest = before.epochs.starts.at(-1)?.epoch ?? 0;
    const goesOn =
      epochs.starts.some(({ epoch }) => epoch === newest) &&
      epochs.starts.every(({ epoch, first }) => epoch <= newest || first > before.head);
    if (goesOn) return;
    throw new BackupRefused(
      `${this.#to} holds a backup up to offset ${before.head} from which the log in ${this.#directory} does not go on: one of the two was restored from an older state and has other records at the same offsets. Choose another directory`,
    );
  }

  async #takeSegments(identity: Identity, epochs: EpochsFile): Promise<void> {
    this.#files = [];
    this.#head = 0;
    this.#there = new Set(await this.#disk.list(this.#to));
    const names = await this.#disk.list(this.#directory);
    const files = new OpenFiles(this.#disk);
    const parts = { disk: this.#disk, files, directory: this.#directory, identity, epochs };
    // what a start would go on with
    const { segments } = await takenSegments(parts, names).finally(() => files.close());
    for (const [i, name] of segments.entries()) await this.#takeSegment(name, segments[i + 1], identity.id);
    const taken = new Set(this.#files.map(({ name }) => name));
    const checkpoint = names
      .filter(name => taken.has(name.replace(/\.dedupe$/, '.log')) && parseCheckpointName(name) !== undefined)
      .sort()
      .at(-1);
    if (checkpoint !== undefined) await this.#takeCheckpoint(checkpoint).catch(ignoreMissing);
  }

  async #takeSegment({ name }: SegmentName, next: SegmentName | undefined, logId: string): Promise<void> {
    const header = await readHeader(this.#disk, path.join(this.#directory, name));
    if (typeof header === 'string') throw this.#damaged(name, 0, header);
    if (header.logId !== logId) throw this.#damaged(name, 0, 'the segment belongs to another log');
    const sealed = await this.#sealed(this.#directory, header);
    if (sealed === undefined && header.rewritten !== undefined) {
      // complete, but without an index when none of its records is left
      this.#head = Math.max(this.#head, header.rewritten.lastOffset);
      await this.#takeWhole(name);
      return;
    }
    if (sealed === undefined) {
      await this.#takeTail(name, header, next);
      return;
    }
    this.#head = Math.max(this.#head, sealed.lastOffset);
    if (this.#there.has(name) && this.#there.has(indexName(name))) {
      const kept = await this.#sealed(this.#to, header).catch(() => undefined);
      // the crc of the last frame stands for all before it
      if (kept?.end === sealed.end && kept.lastCrc === sealed.lastCrc) {
        await this.#keep(name);
        await this.#keep(indexName(name));
        return;
      }
    }
    await this.#takeWhole(name);
    await this.#takeWhole(indexName(name));
  }

  /** The segment when it is complete, with an index that says so. */
  async #sealed(directory: string, header: SegmentHeader): Promise<Segment | undefined> {
    const files = new OpenFiles(this.#disk);
    try {
      const segment = new Segment(files, directory, header);
      await openSealed(segment, { cache: new IndexCache(), gate: new Gate(1) });
      return segment.sealed ? segment : undefined;
    } finally {
      await files.close();
    }
  }

  /** Of a segment that is written to, or was until just now, every whole frame. */
  async #takeTail(name: string, header: SegmentHeader, next: SegmentName | undefined): Promise<void> {
    const from = path.join(this.#directory, name);
    const { buffer, scan } = await this.#readTail(name, header);
    const frames = scan.frames.filter(({ first }) => next === undefined || first < next.firstOffset);
    const last = frames[frames.length - 1];
    const newest = frames.findLast(({ count }) => count > 0);
    if (newest === undefined) return;
    // an ack came after a sync or before it: after this one all that was read is on the disk of the log as well
    const source = await this.#disk.open(from, 'read');
    try {
      await source.sync();
    } finally {
      await source.close();
    }
    const bytes = last!.position + last!.length;
    await replaceFile(this.#disk, path.join(this.#to, name), file =>
      writeWhole(file, bytes, (memory, at) => void buffer.copy(memory, 0, at)),
    );
    this.#copied++;
    this.#files.push({ name, bytes });
    this.#head = Math.max(this.#head, newest.last);
  }

  /** A server replaces it when it likes, and a start does without: one that is gone or damaged is left out. */
  async #takeCheckpoint(name: string): Promise<void> {
    const header = checkCheckpoint(await readAll(this.#disk, path.join(this.#directory, name)));
    if (typeof header !== 'string') await this.#takeWhole(name);
  }

  /** A frame that is being written while it is read looks damaged once, but not in the same place again. */
  async #readTail(name: string, header: SegmentHeader): Promise<{ buffer: Buffer; scan: SegmentScan }> {
    for (let before = -1; ; ) {
      const buffer = await readWhole(this.#disk, path.join(this.#directory, name));
      const scan = await inSlices(scanning(buffer, header), this.#pause);
      if (scan.bad === undefined || scan.last >= scan.durable) return { buffer, scan };
      if (scan.bad.position === before) throw this.#damaged(name, before, endOfScan(scan).what);
      before = scan.bad.position;
    }
  }

  async #takeWhole(name: string): Promise<void> {
    const from = path.join(this.#directory, name);
    const to = path.join(this.#to, name);
    if (this.#linksWork && (await this.#link(from, to))) this.#linked++;
    else {
      await copyFile(this.#disk, from, to, await this.#sizeOf(from));
      this.#copied++;
    }
    this.#files.push({ name, bytes: await this.#sizeOf(to) });
  }

  /** False where the two directories cannot share a file. */
  async #link(from: string, to: string): Promise<boolean> {
    const temporary = `${to}.tmp`;
    await this.#disk.unlink(temporary).catch(ignoreMissing);
    try {
      await this.#disk.link(from, temporary);
    } catch (error) {
      if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error;
      this.#linksWork = false;
      return false;
    }
    await this.#disk.rename(temporary, to);
    // two names of one file: the rename leaves both
    await this.#disk.unlink(temporary).catch(ignoreMissing);
    return true;
  }

  async #keep(name: string): Promise<void> {
    this.#kept++;
    this.#files.push({ name, bytes: await this.#sizeOf(path.join(this.#to, name)) });
  }

  async #sizeOf(file: string): Promise<number> {
    const handle = await this.#disk.open(file, 'read');
    try {
      return await handle.size();
    } finally {
      await handle.close();
    }
  }

  /** Of the files that make up this backup, whatever else is there still. */
  async #verify(): Promise<void> {
    const mine = new Set(['log.json', 'epochs', deletionsName, ...this.#files.map(({ name }) => name)]);
    const { damages } = await verify(this.#to, this.#disk, name => mine.has(name), this.#pause);
    if (damages.length === 0) return;
    throw new BackupRefused(
      `what was copied from ${this.#directory} is damaged: ${damages.map(describeDamage).join('; ')}. ${this.#replaces ? `The backup that was in ${this.#to} before can still be restored. ` : ''}Run \`tailrace log verify\` on both directories`,
    );
  }

  /** What retention, a rewrite or a backup cut short left over. */
  async #removeOthers(): Promise<number> {
    const mine = new Set(['log.json', 'epochs', listName, ...this.#files.map(({ name }) => name)]);
    let removed = 0;
    for (const name of await this.#disk.list(this.#to)) {
      if (mine.has(name) || !/\.(log|idx|dedupe|tmp)$/.test(name)) continue;
      await this.#disk.unlink(path.join(this.#to, name));
      removed++;
    }
    return removed;
  }

  #damaged(segment: string, position: number, what: string): LogDamaged {
    const nothing = `Nothing was backed up${this.#replaces ? ', and the backup before can still be restored' : ''}.`;
    const hint = `${nothing} Run \`tailrace log verify\` to see all of it.`;
    return new LogDamaged(this.#directory, [{ segment, position, what }], hint);
  }
}

/** Of each topic the last one. */
function newestOf(deletions: readonly PendingDeletion[]): readonly PendingDeletion[] {
  return [...new Map(deletions.map(deletion => [deletion.topic, deletion])).values()];
}

function told(branch: Branch | undefined): string {
  return branch === undefined ? 'the original log' : `the copy ${branch.tag}, which was restored from ${branch.from}`;
}
