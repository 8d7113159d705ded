import { resolve } from 'node:path';
import { type Config, formatSize } from '../config/index.ts';
import { engineOf } from '../log/capabilities.ts';
import { withoutPassword } from '../log/without-password.ts';
import { version } from '../version.ts';
import { coloursFor } from './colour.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { portIsTaken } from './port-taken.ts';
import { readSettings, settingOptions } from './settings.ts';
import { stopRequested } from './stop-signals.ts';

export const serve: Command = {
  name: 'serve',
  arguments: '',
  summary: 'Run the server (the default command).',
  details: [
    'Every setting below may also stand in the environment (--lag.limit is TAILRACE_LAG_LIMIT) or nested in ./tailrace.yaml; flags win over variables, variables over the file. Durations are 30s, 5m or a number of ms; sizes are 64MiB or a number of bytes. docs/settings.md has the same list.',
    'SIGTERM or SIGINT: clients are told when to reconnect, publishes in flight are answered, the log is closed, exit code 0. A second signal ends the process at once.',
  ],
  options: {
    'accept-loss': {
      type: 'switch',
      help: 'Start although a part of the log is damaged, without it; copies of the damaged bytes are kept. For one start, no setting.',
    },
    'take-over': {
      type: 'switch',
      help: 'Take the data directory from a server that hangs and cannot be stopped; should it go on, it acknowledges nothing more and ends. For one start, no setting.',
    },
    ...settingOptions(),
  },
  examples: [
    { command: 'tailrace serve', does: 'on 127.0.0.1:4080, with the log in ./data' },
    { command: 'tailrace serve --port 0 --engine memory', does: 'on any free port, nothing kept' },
    { command: 'tailrace serve --retention.age 7d --limits.message 4MiB', does: 'keep a week, allow larger messages' },
  ],
  exitCodes: {
    1: 'not started, or another process has taken over the data directory',
    130: 'ended by a second SIGINT',
    143: 'ended by a second SIGTERM',
  },
  positionals: { least: 0, most: 0 },
  run,
};

async function run(input: Input): Promise<number> {
  // before the first file operation: catch-up reads must not stand in front of a commit (design §6)
  process.env.UV_THREADPOOL_SIZE ??= '16';
  const { config, warnings } = readSettings(input);
  const { yellow } = coloursFor(process.stderr);
  for (const warning of warnings) process.stderr.write(`${yellow('warning:')} ${warning.source}: ${warning.message}\n`);

  if (config.port !== 0 && (await portIsTaken(config.host, config.port))) throw portInUse(config);
  // from here on a signal waits for the start to be over, so that it always ends in a good order
  const stop = stopRequested();
  const { startServer } = await import('../server.ts');
  let onReplaced = (): void => undefined;
  const replaced = new Promise<'replaced'>(resolve => {
    onReplaced = () => resolve('replaced');
  });
  const server = await startServer(config, {
    acceptLoss: input.on('accept-loss'),
    takeOver: input.on('take-over'),
    onReplaced,
  }).catch((error: unknown) => {
    // what a client of the engine's server holds on to must not keep a process that has failed
    setTimeout(() => process.exit(1), lingers).unref();
    throw whyNotStarted(error, config);
  });
  process.stdout.write(banner(config, server.address));
  if (config.insecure)
    process.stderr.write(
      `${yellow('warning:')} insecure is on: everyone who can reach ${config.host} may read and publish everything\n`,
    );

  const signal = await Promise.race([stop, replaced]);
  if (signal === 'replaced') {
    await server.close();
    throw new CommandError(`another process has taken over the data directory ${config.data}: this server has ended`);
  }
  process.stdout.write(`${signal}: stopping; once more to stop at once\n`);
  await server.close();
  process.stdout.write('stopped\n');
  return 0;
}

/** How long what is left of a start that failed may take to end by itself, ms. */
const lingers = 2000;

/** What keeps a server from starting is mostly something to mend, and told without a stack; a fault of ours is not. */
function whyNotStarted(error: unknown, config: Config): unknown {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return portInUse(config);
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new CommandError(`host "${config.host}" is no address of this machine: ${error.message}`);
  if (error.name === 'DirectoryInUse')
    return new CommandError(`${error.message}. If it hangs and cannot be stopped, start with --take-over`);
  if (syscall === 'mkdir') {
    const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'a file stands in its place' : error.message;
    return new CommandError(
      `cannot make the data directory ${resolve(config.data)}: ${why}; choose another with --data`,
    );
  }
  return new CommandError(error.message, { cause: error });
}

function portInUse({ host, port }: Config): CommandError {
  return new CommandError(`port ${port} of ${host} is in use; stop what listens there or choose another with --port`);
}

function banner(config: Config, { host, port }: { readonly host: string; readonly port: number }): string {
  const { bold, dim } = coloursFor(process.stdout);
  const shown = host.includes(':') ? `[${host}]` : host;
  const survives = `(an ack survives ${config.durability === 'fsync' ? 'power loss' : 'a crash of the server'}: durability ${config.durability})`;
  const kept =
    config.engine === 'memory'
      ? `in memory, ${formatSize(config.hot.bytes)}: lost when the server stops`
      : config.engine === 'disk'
        ? `${resolve(config.data)} ${survives}`
        : `${logName(config)} at ${withoutPassword(config.engine)} ${survives}`;
  return `${bold('tailrace')} ${version} at ${bold(`http://${shown}:${port}/`)}\n${dim('log')} ${kept}\n`;
}

/** What a shared log is called where it lives. */
function logName(config: Config): string {
  const engine = engineOf(config.engine);
  return engine === 'disk' || engine === 'memory' ? '' : config[engine].name;
}
