import type { Random } from '../../random.ts';
import type { Disk } from './disk.ts';
import { readSmallFile, replaceSmallFile } from './small-file.ts';

export const branchName = 'branch';

/** Which of the directories that share a log's identity this is: each restore begins one of its own. */
export interface Branch {
  readonly tag: string;
  /** The backup that it was restored from, when it was. */
  readonly from: string;
}

/** Undefined for the original, and for what was restored before there were branches. */
export async function readBranch(disk: Disk, directory: string): Promise<Branch | undefined> {
  return (await readSmallFile(disk, directory, branchName)) as Branch | undefined;
}

export function newBranch(random: Random, from: string): Branch {
  return { tag: random.id(8), from };
}

export function writeBranch(disk: Disk, directory: string, branch: Branch): Promise<void> {
  return replaceSmallFile(disk, directory, branchName, { format: 1, ...branch });
}
