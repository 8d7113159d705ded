import { type DiskLogOptions, openDiskLog } from '../../src/log/index.ts';
import type { Log } from '../../src/log/log.ts';
import { type ContractSubject, logContract } from './contract.ts';
import { deletionContract } from './deletion-contract.ts';
import { keysContract } from './keys-contract.ts';
import { copyLeftBehind } from './left-behind.ts';
import { temporaryDirectory } from './temporary-directory.ts';

function subject(more: Partial<DiskLogOptions>): ContractSubject {
  const directories = new WeakMap<Log, string>();
  return {
    async open(clock, options = {}) {
      const directory = temporaryDirectory();
      const log = await openDiskLog({ ...options, ...more, directory, clock });
      directories.set(log, directory);
      return log;
    },
    openLeft(log, clock) {
      const directory = temporaryDirectory();
      copyLeftBehind(directories.get(log)!, directory);
      return openDiskLog({ ...more, directory, clock });
    },
  };
}

const plain = subject({});
logContract('the disk log', plain);
keysContract('the disk log', plain);
deletionContract('the disk log', plain);

// nothing in memory and many small segments: every read takes the way over files and indexes
const cold = subject({ hotBytes: 1, segmentBytes: 4096 });
logContract('the disk log beyond its hot tail', cold);
keysContract('the disk log beyond its hot tail', cold);
deletionContract('the disk log beyond its hot tail', cold);
