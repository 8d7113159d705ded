import { fileURLToPath } from 'node:url';
import { serverCore } from '../pin.ts';
import { Remote } from '../remote.ts';
import type { LogOperations } from './process.ts';

const script = fileURLToPath(new URL('process.ts', import.meta.url));

/** The log process, on the server's core. `profile`: a directory for `--cpu-prof`. */
export class LogProcess extends Remote<LogOperations> {
  constructor(profile?: string) {
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    // as many threads as `tailrace serve` has
    super('log', serverCore, ['--v8-pool-size=0', '--expose-gc', ...profiling, script], { UV_THREADPOOL_SIZE: '16' });
  }
}
