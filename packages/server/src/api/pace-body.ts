import type { IncomingMessage } from 'node:http';
import type { Clock } from '../log/index.ts';
import { holdReading } from './hold-reading.ts';

/** What a body may bring in one turn of the event loop, about; libuv alone would read 2 MiB of it. */
const bytesMax = 256 * 1024;
/** A chunk of one byte costs as much as one of a kilobyte. */
const chunksMax = 256;

/** Chunks after which the others get a millisecond: some four times what those took. */
const chunksPerMs = 100;

/** Keeps a body that comes as fast as it can, or in crumbs, from holding up everybody else. */
export function paceBody(req: IncomingMessage, clock: Clock): void {
  let bytes = 0;
  let chunks = 0;
  let paused = false;
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    chunks++;
    if (paused || (bytes < bytesMax && chunks < chunksMax)) return;
    paused = true;
    const readOn = holdReading(req.socket);
    // what was read before is still coming
    clock.soon(() => {
      const wait = Math.floor(chunks / chunksPerMs);
      const goOn = (): void => {
        paused = false;
        readOn();
      };
      bytes = 0;
      chunks = 0;
      if (wait === 0) goOn();
      else clock.after(wait, goOn);
    });
  });
}
