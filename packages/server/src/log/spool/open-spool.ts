import * as path from 'node:path';
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk/files/disk.ts';
import { nodeDisk } from '../disk/files/node-disk.ts';
import { readSmallFile, replaceSmallFile } from '../disk/files/small-file.ts';
import { openDiskLog } from '../disk/open-disk-log.ts';
import type { Log } from '../log.ts';
import type { CommonLogOptions } from '../options.ts';
import { Spool } from './spool.ts';

export interface SpoolOptions extends Pick<CommonLogOptions, 'dedupe' | 'pending' | 'recordBytes' | 'onReport'> {
  /** Of this node; made when missing. */
  readonly directory: string;
  readonly engine: Log;
  readonly clock: Clock;
  readonly bytesMax: number;
  readonly disk?: Disk | undefined;
}

const shippedName = 'shipped';
/** Small, since what is shipped goes segment by segment. */
const segmentBytes = 8 * 1024 * 1024;
const hotBytes = 4 * 1024 * 1024;

/** Opens the spool in a directory, and begins to ship what an earlier run left there. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, engine, clock, bytesMax, disk = nodeDisk, onReport = () => {} } = options;
  await disk.makeDirectory(directory);
  const store = await openDiskLog({
    ...options,
    directory: path.join(directory, 'log'),
    segmentBytes,
    hotBytes,
    disk,
    // what is usual for a log that is emptied again and again is nobody's news
    onReport: report => {
      if (report.level !== 'info') onReport({ ...report, message: `in the spool: ${report.message}` });
    },
  });
  const told = (await readSmallFile(disk, directory, shippedName).catch(() => undefined)) as Shipped | undefined;
  const spool = new Spool({
    store,
    engine,
    clock,
    bytesMax,
    shippedTo: told?.log === store.id ? told.offset : 0,
    onShipped: offset => replaceSmallFile(disk, directory, shippedName, { log: store.id, offset } satisfies Shipped),
    onReport,
  });
  spool.start();
  return spool;
}

interface Shipped {
  readonly log: string;
  readonly offset: number;
}
