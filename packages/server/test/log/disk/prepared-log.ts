import * as path from 'node:path';
import { type DiskLogOptions, type LogReport, openDiskLog } from '../../../src/log/index.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, readAllOf } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from './simulated-disk.ts';

export const directory = '/simulated';

/** Files of a log at one moment, from which a disk can be made again and again. */
export type Image = ReadonlyMap<string, Buffer>;

export interface PreparedLog {
  readonly image: Image;
  /** Data of the records by offset − 1. */
  readonly data: readonly string[];
}

/**
 * A log of `batches` appends of three records each that was killed, or closed, behind the last ack. Its frames follow each
 * other without padding, unless writes are `direct`.
 */
export async function prepareLog(
  batches: number,
  end: 'killed' | 'closed',
  options: Partial<DiskLogOptions> = {},
  writes: 'buffered' | 'direct' = 'buffered',
): Promise<PreparedLog> {
  const machine = new SimulatedDisk(new SeededRandom(1));
  machine.writesDirect = writes === 'direct';
  const log = await openDiskLog({
    directory,
    disk: machine.boot(),
    clock: new ManualClock(),
    segmentBytes: 16384,
    ...options,
  });
  const data: string[] = [];
  for (let i = 0; i < batches; i++) {
    const messages = [0, 1, 2].map(n =>
      message(`t/${n}`, `record ${i}.${n} ${'.'.repeat((writes === 'direct' ? 1000 : 40) * n)}`, { id: `${i}.${n}` }),
    );
    await log.append(messages, 'fsync');
    data.push(...messages.map(({ data }) => Buffer.from(data).toString()));
  }
  if (end === 'closed') await log.close();
  machine.kill();
  return { image: imageOf(machine), data };
}

export function imageOf(machine: SimulatedDisk): Image {
  return new Map(machine.files().map(file => [file, Buffer.from(machine.content(file))]));
}

export async function diskWith(image: Image, seed = 1): Promise<SimulatedDisk> {
  const machine = new SimulatedDisk(new SeededRandom(seed));
  const disk = machine.boot();
  for (const [file, content] of image) {
    await disk.open(file, 'create');
    machine.replace(file, Buffer.from(content));
    machine.syncNames(path.dirname(file));
  }
  return machine;
}

export interface Reopened {
  readonly records: readonly LogRecord[];
  readonly reports: readonly LogReport[];
  readonly machine: SimulatedDisk;
}

/** Opens the log and reads all of it; rejects as opening or reading does. */
export async function reopen(image: Image, options: Partial<DiskLogOptions> = {}): Promise<Reopened> {
  const machine = await diskWith(image);
  const reports: LogReport[] = [];
  const log = await openDiskLog({
    directory,
    disk: machine.boot(),
    clock: new ManualClock(),
    segmentBytes: 16384,
    onReport: report => void reports.push(report),
    ...options,
  });
  try {
    return { records: await readAllOf(log, ['#']), reports, machine };
  } finally {
    await log.close();
  }
}

/** The newest segment of an image. */
export function newestSegment(image: Image): string {
  return [...image.keys()]
    .filter(file => file.endsWith('.log'))
    .sort()
    .at(-1)!;
}

export function baseName(file: string): string {
  return path.basename(file);
}

export function textOf(record: LogRecord): string {
  return Buffer.from(record.data).toString();
}
