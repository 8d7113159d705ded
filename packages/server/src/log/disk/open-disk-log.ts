import { systemClock } from '../clock.ts';
import { EpochList, nextEpoch } from '../epoch-list.ts';
import { systemRandom } from '../random.ts';
import { takeDeletions } from './deletion/deletions-file.ts';
import { DiskLog } from './disk-log.ts';
import type { DiskLogOptions } from './disk-log-options.ts';
import type { Disk } from './files/disk.ts';
import { readEpochs } from './files/epochs-file.ts';
import { newIdentity, readIdentity } from './files/identity.ts';
import { nodeDisk } from './files/node-disk.ts';
import { OpenFiles } from './files/open-files.ts';
import { ownedDisk } from './files/owned-disk.ts';
import { StartRecord } from './files/start-record.ts';
import { refuseUnfinished } from './files/unfinished.ts';
import { HouseworkHere } from './housework/here.ts';
import { HouseworkThread } from './housework/thread.ts';
import { IndexCache } from './index/index-cache.ts';
import { listName } from './offline/backup-list.ts';
import { Reader } from './read/reader.ts';
import { epochsFromHeaders } from './recovery/epochs-from-headers.ts';
import { recover } from './recovery/recovery.ts';
import { SegmentList } from './segment/segment-list.ts';
import { parseSegmentName } from './segment/segment-name.ts';

/**
 * Opens the log in a directory: takes it over, recovers it, and begins a new epoch. Rejects when another process owns
 * the directory, and with LogDamaged when something that was durable is gone (I10). On a full disk it opens all the same,
 * in the state `full`.
 */
export async function openDiskLog(options: DiskLogOptions): Promise<DiskLog> {
  const machine = options.disk ?? nodeDisk;
  const clock = options.clock ?? systemClock;
  const report = options.onReport ?? (() => undefined);
  const { directory } = options;
  await machine.makeDirectory(directory);
  await refuseUnfinished(directory, machine);
  await refuseBackup(directory, machine);
  const ownership = await machine.own(directory, { takeOver: options.takeOver });
  const disk = ownedDisk(machine, ownership);
  try {
    if (ownership.tookOver)
      report({ level: 'info', kind: 'owner_replaced', message: `the last owner of ${directory} did not close it` });
    const started = clock.monotonic();
    const known = await readIdentity(disk, directory);
    if (known === undefined) await refuseOrphans(disk, directory);
    const identity = known ?? newIdentity(options.random ?? systemRandom);
    const earlier = (await readEpochs(disk, directory)) ?? (await epochsFromHeaders(disk, directory));
    const acceptLoss = options.acceptLoss ?? false;
    const files = new OpenFiles(disk);
    const segments = new SegmentList();
    const reader = new Reader(segments);
    const reading = { cache: new IndexCache(), gate: reader.gate };
    const recovered = await recover({
      disk,
      files,
      reading,
      clock,
      directory,
      identity,
      epochs: earlier,
      acceptLoss,
      report,
    });
    for (const segment of recovered.segments) segments.push(segment);
    const epochs = new EpochList(earlier?.starts ?? []);
    epochs.begin(nextEpoch(epochs.current?.epoch ?? 0, clock.now()), recovered.head + 1);
    const lost = [...(earlier?.lost ?? []), ...recovered.lost];
    const start = new StartRecord({
      disk,
      directory,
      identity: known === undefined ? identity : undefined,
      epochs: { starts: epochs.starts, nextSegment: recovered.nextSegment, lost },
    });
    await start.write();
    const log = new DiskLog({
      options,
      disk,
      clock,
      report,
      ownership,
      identity,
      epochs,
      start,
      recovered,
      files,
      segments,
      reader,
      reading,
      deletions: await takeDeletions(disk, directory),
      // a disk of its own, such as a simulated one, is not in another thread
      housework: machine.open === nodeDisk.open ? new HouseworkThread(clock) : new HouseworkHere(disk, clock),
      // a reader from below a place where files do not follow each other may have missed what belongs there
      lost: lost.map(({ from, to }) => ({ from, to: Math.max(from, to) })),
    });
    await log.start();
    const ms = Math.round(clock.monotonic() - started);
    const count = recovered.segments.length;
    report({ level: 'info', kind: 'recovered', message: `${count} segments, head ${recovered.head}, ${ms} ms` });
    return log;
  } catch (error) {
    await ownership.release();
    throw error;
  }
}

async function refuseOrphans(disk: Disk, directory: string): Promise<void> {
  const orphan = (await disk.list(directory)).find(name => parseSegmentName(name) !== undefined);
  if (orphan !== undefined)
    throw new Error(`${directory} has segments such as ${orphan} but no log.json: run \`tailrace log repair\` on it`);
}

/** A server would go on in it, and then it is no backup any more. */
async function refuseBackup(directory: string, disk: Disk): Promise<void> {
  if (!(await disk.list(directory)).includes(listName)) return;
  throw new Error(
    `${directory} is a backup: make a log of it with \`tailrace log restore ${directory} <directory>\` and start the server there`,
  );
}
