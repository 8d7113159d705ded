import { stringify } from 'yaml';
import { type Config, formatDuration, formatSize, settings } from '../config/index.ts';
import { withoutPassword } from '../log/without-password.ts';
import { coloursFor } from './colour.ts';
import type { Command, Input } from './command.ts';
import { loadSettings, settingOptions } from './settings.ts';

export const check: Command = {
  name: 'check',
  arguments: '',
  summary: 'Say what is wrong with the settings, without starting a server.',
  details: [
    'Takes the same flags, variables and file as tailrace serve, and reports every problem with its path and source.',
  ],
  options: {
    print: { type: 'switch', help: 'Print all settings as they would be in force, as a settings file.' },
    json: {
      type: 'switch',
      help: 'Print {"problems":[…],"file":…,"config":…} with durations in ms and sizes in bytes.',
    },
    ...settingOptions(),
  },
  examples: [
    { command: 'tailrace check --config tailrace.yaml', does: 'before a deploy' },
    { command: 'tailrace check --print > tailrace.yaml', does: 'begin a settings file with the defaults' },
  ],
  exitCodes: { 1: 'an error was found (warnings are none)' },
  positionals: { least: 0, most: 0 },
  run: async input => run(input),
};

function run(input: Input): number {
  const { config, problems, file } = loadSettings(input);
  if (input.on('json')) {
    process.stdout.write(
      `${JSON.stringify({ problems, file: file ?? null, config: config === undefined ? null : shown(config) })}\n`,
    );
    return config === undefined ? 1 : 0;
  }
  const { red, yellow } = coloursFor(process.stderr);
  for (const { severity, source, message } of problems)
    process.stderr.write(`${severity === 'error' ? red('error:') : yellow('warning:')} ${source}: ${message}\n`);
  if (config === undefined) return 1;
  if (input.on('print')) process.stdout.write(`${noteOn(config)}${stringify(readable(shown(config)))}`);
  else process.stdout.write(`the settings are fine${file === undefined ? ' (no settings file)' : ` (${file})`}\n`);
  return 0;
}

/** Whoever reads settings over a shoulder or in a log must not learn a password. */
function shown(config: Config): Config {
  return { ...config, engine: withoutPassword(config.engine) };
}

function noteOn(config: Config): string {
  if (shown(config).engine === config.engine) return '';
  return '# engine is shown without its user and password: give the whole URL by TAILRACE_ENGINE\n';
}

/** The settings as people write them: "30s" and "64MiB" instead of numbers. */
function readable(config: Config): unknown {
  const tree = structuredClone(config) as unknown as Record<string, unknown>;
  for (const { name, kind } of settings) {
    const keys = name.split('.');
    const last = keys.pop()!;
    const parent = keys.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, tree);
    const value = parent[last];
    if (typeof value !== 'number') continue;
    if (kind === 'duration') parent[last] = formatDuration(value);
    if (kind === 'size') parent[last] = formatSize(value);
  }
  return tree;
}
