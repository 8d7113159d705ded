import { openDiskLog } from '../../src/log/index.ts';
import { logContract } from './contract.ts';
import { temporaryDirectory } from './temporary-directory.ts';

logContract('the disk log', {
  open: (clock, options = {}) => openDiskLog({ ...options, directory: temporaryDirectory(), clock }),
});

// nothing in memory and many small segments: every read takes the way over files and indexes
logContract('the disk log beyond its hot tail', {
  open: (clock, options = {}) =>
    openDiskLog({ ...options, directory: temporaryDirectory(), clock, hotBytes: 1, segmentBytes: 4096 }),
});
