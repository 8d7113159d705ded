import * as path from 'node:path';
import type { EpochStart } from '../../epoch-list.ts';
import type { Disk } from '../files/disk.ts';
import type { EpochsFile } from '../files/epochs-file.ts';
import { readHeader } from '../segment/read-segment.ts';
import { newestSegments } from '../segment/segment-name.ts';

/** What the headers of the segments know of the epochs, for when the file is gone; undefined without segments. */
export async function epochsFromHeaders(disk: Disk, directory: string): Promise<EpochsFile | undefined> {
  const starts: EpochStart[] = [];
  let nextSegment = 1;
  for (const { name } of newestSegments(await disk.list(directory))) {
    const header = await readHeader(disk, path.join(directory, name));
    if (typeof header === 'string') continue;
    const epoch = starts[starts.length - 1]?.epoch ?? 0;
    if (header.epoch > epoch) starts.push({ epoch: header.epoch, first: header.firstOffset });
    nextSegment = Math.max(nextSegment, header.number + 1);
  }
  return starts.length === 0 ? undefined : { starts, nextSegment, lost: [] };
}
