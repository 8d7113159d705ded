import * as path from 'node:path';
import { crc32 } from 'node:zlib';
import { type Disk, errorCode, ignoreMissing } from '../files/disk.ts';
import { replaceFile } from '../files/replace-file.ts';
import { readAll } from '../segment/read-segment.ts';

export const deletionsName = 'deletions';

/** A topic whose records up to an offset are to go from the files. */
export interface PendingDeletion {
  readonly topic: string;
  readonly upTo: number;
  /** Of the record at `upTo`: what is given out again of its offsets belongs to a later epoch. */
  readonly epoch: number;
}

/** What the file says. */
export interface FoundDeletions {
  readonly pending: readonly PendingDeletion[];
  /** What is there of a last line that is not whole: empty for only zeros. */
  readonly torn?: string | undefined;
}

/** The file is not what was written, or cannot be read, so nobody knows all that is to be deleted. */
export class DeletionsDamaged extends Error {
  readonly readable: readonly PendingDeletion[];
  /** What stands in the place of the others, as far as it is text. */
  readonly bad: readonly string[];

  constructor(file: string, what: string, readable: readonly PendingDeletion[], bad: readonly string[]) {
    super(
      `${file}, which names the topics that are being deleted for good, is damaged: ${what}. Put it back from a copy, or run \`tailrace log repair\` on the directory, which keeps it aside and goes on with the rest; topics that cannot be read there come back, and have to be deleted again`,
    );
    this.name = 'DeletionsDamaged';
    this.readable = readable;
    this.bad = bad;
  }
}

/**
 * What was asked for and is not done: none when there is no file. A line each, the newest of a topic counts:
 *
 *    1f0a9b3c ["customers/4711",812,1763765000000]       <crc32 of what follows, in hex> [topic, up to, epoch]
 *
 * The last line may be torn by a power cut: then nobody was told that it is there. A line that was cut later looks the same,
 * so what is torn is returned. Throws DeletionsDamaged.
 */
export async function readDeletions(disk: Disk, directory: string): Promise<FoundDeletions> {
  if (!(await disk.list(directory)).includes(deletionsName)) return { pending: [] };
  const file = path.join(directory, deletionsName);
  const content = await readAll(disk, file).catch((error: unknown) => {
    if (errorCode(error) !== 'EIO') throw error;
    throw new DeletionsDamaged(file, 'the disk cannot read it (EIO)', [], []);
  });
  const lines = content.toString('utf8').split('\n');
  let unfinished = lines.pop()!;
  // what was not written yet of a file that has grown reads as zeros
  if (unfinished === '' && lines.at(-1)?.includes('\0')) unfinished = lines.pop()!;
  const torn = unfinished.replaceAll('\0', '');
  const wholeButForItsEnd = torn !== '' && torn === withChecksum(torn.slice(9));
  if (wholeButForItsEnd) lines.push(torn);
  const found = new Map<string, PendingDeletion>();
  const bad: string[] = [];
  for (const line of lines) {
    const json = line.slice(9);
    if (line !== withChecksum(json)) {
      bad.push(line);
      continue;
    }
    const [topic, upTo, epoch] = JSON.parse(json) as [string, number, number];
    found.set(topic, { topic, upTo, epoch });
  }
  if (bad.length > 0) {
    const what = `${bad.length} of its ${lines.length} lines fail their checksum`;
    throw new DeletionsDamaged(file, what, [...found.values()], bad);
  }
  return { pending: [...found.values()], torn: unfinished === '' || wholeButForItsEnd ? undefined : torn };
}

/**
 * The same for a start, which acts on what it finds. A process that was killed may not have got to sync its last line: a power
 * cut would take back what is half done by then.
 */
export async function takeDeletions(disk: Disk, directory: string): Promise<FoundDeletions> {
  const found = await readDeletions(disk, directory);
  if (found.pending.length === 0) return found;
  const file = await disk.open(path.join(directory, deletionsName), 'write');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return found;
}

export function describeTorn(torn: string): string {
  const found = torn === '' ? 'nothing of it can be read' : `all that is there of it is ${JSON.stringify(torn)}`;
  return `${deletionsName}: its last line is torn, ${found}. A power cut does that to a deletion that was not answered yet. If it was answered, its records are back: delete that topic again`;
}

/** Replaces the file, or removes it when nothing is left to do. */
export async function writeDeletions(disk: Disk, directory: string, pending: Iterable<PendingDeletion>): Promise<void> {
  const bytes = encodeDeletions(pending);
  if (bytes.length === 0) return removeDeletions(disk, directory);
  await replaceFile(disk, path.join(directory, deletionsName), file => file.write(bytes, 0, bytes.length, 0));
}

export async function removeDeletions(disk: Disk, directory: string): Promise<void> {
  await disk.unlink(path.join(directory, deletionsName)).catch(ignoreMissing);
  await disk.syncDirectory(directory);
}

export function encodeDeletions(deletions: Iterable<PendingDeletion>): Buffer {
  const lines = Array.from(
    deletions,
    ({ topic, upTo, epoch }) => `${withChecksum(JSON.stringify([topic, upTo, epoch]))}\n`,
  );
  return Buffer.from(lines.join(''));
}

function withChecksum(json: string): string {
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}`;
}
