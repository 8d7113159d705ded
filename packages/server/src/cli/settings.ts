import {
  type Config,
  ConfigError,
  type ConfigProblem,
  type Flags,
  type LoadedConfig,
  loadConfig,
  settings,
} from '../config/index.ts';
import { CommandError, type Input, type Option } from './command.ts';

/** `--config` and a flag for every setting. */
export function settingOptions(): Record<string, Option> {
  const options: Record<string, Option> = {
    config: {
      type: 'text',
      value: 'file',
      help: 'Settings file; else the one TAILRACE_CONFIG names, else ./tailrace.yaml if there is one.',
    },
  };
  for (const setting of settings) {
    options[setting.name] = {
      type: setting.kind === 'switch' ? 'switch' : setting.kind === 'list' ? 'list' : 'text',
      value: setting.kind === 'rules' ? 'json' : setting.kind,
      group: 'Settings',
      help: `${setting.help} Default ${setting.shown}; ${setting.allowed}.`,
    };
  }
  return options;
}

/** What flags, environment and file say together. */
export function loadSettings(input: Input): LoadedConfig {
  const flags = Object.fromEntries(Object.entries(input.all).filter(([name]) => name in settingFlags));
  return loadConfig({ flags, env: process.env, file: input.text('config') });
}

/** The settings for a server; throws CommandError with every problem. */
export function readSettings(input: Input): { config: Config; warnings: readonly ConfigProblem[] } {
  const { config, problems } = loadSettings(input);
  if (config === undefined)
    throw new CommandError(new ConfigError(problems.filter(problem => problem.severity === 'error')).message);
  return { config, warnings: problems };
}

const settingFlags: Flags = Object.fromEntries(settings.map(({ name }) => [name, true]));
