import { type DiskLog, type DiskLogOptions, openDiskLog } from '../../../src/log/index.ts';
import { ManualClock } from '../manual-clock.ts';
import { message, until } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { directory } from './prepared-log.ts';
import { SimulatedDisk } from './simulated-disk.ts';

export const secret = 'do-not-keep-this';
export const bystander = 'this-one-stays';

export interface SimulatedLog {
  readonly machine: SimulatedDisk;
  readonly clock: ManualClock;
  open(options?: Partial<DiskLogOptions>): Promise<DiskLog>;
}

export function simulated(seed = 1): SimulatedLog {
  const machine = new SimulatedDisk(new SeededRandom(seed));
  const clock = new ManualClock();
  return {
    machine,
    clock,
    open: (options = {}) => openDiskLog({ directory, disk: machine.boot(), clock, segmentBytes: 2048, ...options }),
  };
}

export async function fill(log: DiskLog, count: number, from = 0): Promise<void> {
  for (let i = from; i < from + count; i++)
    await log.append(
      [message('gone', `${secret} ${i}`, { id: `${secret} id ${i}` }), message('kept', `${bystander} ${i}`)],
      'fsync',
    );
}

export async function erased(log: DiskLog, clock: ManualClock): Promise<void> {
  await until('no file holds it', () => {
    clock.advance(50);
    return log.status.deletionsPending === 0;
  });
}
