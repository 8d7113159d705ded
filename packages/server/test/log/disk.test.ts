import { type DiskLogOptions, openDiskLog } from '../../src/log/index.ts';
import type { Log } from '../../src/log/log.ts';
import { type ContractSubject, logContract } from './contract.ts';
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

logContract('the disk log', subject({}));

// nothing in memory and many small segments: every read takes the way over files and indexes
logContract('the disk log beyond its hot tail', subject({ hotBytes: 1, segmentBytes: 4096 }));
