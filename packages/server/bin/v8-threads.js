// How many threads V8 has beside the one of the server.

/**
 * One for each other core. There are four otherwise, and where there are one or two cores the server waits up to 30 ms for
 * its own while they collect garbage: commits with it. Only read when a process starts.
 */
export const fewHelpers = '--v8-pool-size=0';

/** Starts this process anew with them, under the same id, unless they are set already. Returns where that cannot be. */
export function withFewHelpers() {
  const isSet = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some(flags => flags.includes('v8-pool-size'));
  // Windows has no such call; a channel to a parent would not live through it
  if (isSet || process.execve === undefined || process.connected) return;
  const args = [process.execPath, ...process.execArgv, fewHelpers, ...process.argv.slice(1)];
  try {
    process.execve(process.execPath, args, process.env);
  } catch {
    // with Node's permission model it may not be allowed
  }
}
