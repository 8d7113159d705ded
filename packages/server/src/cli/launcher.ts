/**
 * bin/tailrace.js starts this process with an IPC channel when the caller's Node is too old to run it. When the channel
 * closes the launcher was killed, and a server nobody can signal any more must not live on. The log takes no harm: it
 * is built for it.
 */
export function followLauncher(): void {
  if (process.channel == null) return;
  process.once('disconnect', () => process.exit(1));
  // a listener alone would keep the process alive
  process.channel.unref();
}
