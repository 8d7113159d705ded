/**
 * Ctrl-C reaches the whole foreground group, and npm and the launcher pass it on again: what follows within this many
 * ms is the same request.
 */
const sameRequest = 200;

/** Resolves at the first SIGTERM or SIGINT. A second one ends the process at once, with the shell's code for it. */
export function stopRequested(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let first: number | undefined;
    const onSignal = (signal: NodeJS.Signals, number: number): void => {
      if (first === undefined) {
        first = performance.now();
        resolve(signal);
      } else if (performance.now() - first > sameRequest) {
        process.exit(128 + number);
      }
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
