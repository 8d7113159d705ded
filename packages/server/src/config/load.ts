import { nearest } from '@tailrace/protocol';
import { type ConfigFile, readConfigFile } from './file.ts';
import type { ConfigProblem } from './problem.ts';
import { type ReadConfig, readConfig } from './read.ts';
import { type Setting, settings, settingsByName } from './settings.ts';

/** Flags by setting name without dashes; a switch without value is `true`, a repeated flag an array. */
export type Flags = Readonly<Record<string, string | boolean | readonly string[]>>;

export interface ConfigSources {
  readonly flags?: Flags;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Path of the settings file; without one `TAILRACE_CONFIG` names it, else ./tailrace.yaml is read if there. */
  readonly file?: string | undefined;
}

export interface LoadedConfig extends ReadConfig {
  /** The file that was read. */
  readonly file: string | undefined;
}

/** What the name of every variable begins with. */
const prefix = 'TAILRACE_';
/** Variables that are no settings: read by commands, or set by others. */
const otherVariables = ['TAILRACE_CONFIG', 'TAILRACE_URL'];
/** What Kubernetes sets for a Service named `tailrace`. */
const serviceLink = /^TAILRACE_(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_.*)$/;

/** Puts the settings together: flags win over environment variables, these over the file, this over the defaults. */
export function loadConfig({ flags = {}, env = {}, file }: ConfigSources = {}): LoadedConfig {
  const problems: ConfigProblem[] = [];
  const sources = new Map<string, string>();
  const named = file ?? nonEmpty(env.TAILRACE_CONFIG);
  const fromFile: ConfigFile = readConfigFile(named);
  problems.push(...fromFile.problems);
  const tree: Record<string, unknown> = fromFile.tree;

  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(prefix) || otherVariables.includes(name) || serviceLink.test(name)) continue;
    const setting = settings.find(candidate => candidate.env === name);
    if (setting === undefined) {
      const hint = nearestOf(
        name,
        settings.map(candidate => candidate.env),
        prefix.length,
      );
      problems.push({
        severity: 'error',
        path: '',
        source: name,
        message: `there is no setting with this name${hint}`,
      });
    } else if (text !== undefined && text !== '') {
      if (name === 'TAILRACE_PORT' && text.startsWith('tcp://')) {
        const message = `port is "${text}", which Kubernetes sets for a Service named "tailrace": give the pod enableServiceLinks: false or the Service another name`;
        problems.push({ severity: 'error', path: 'port', source: name, message });
        continue;
      }
      place(tree, setting.name, fromText(setting, text));
      sources.set(setting.name, name);
    }
  }
  for (const [name, value] of Object.entries(flags)) {
    const setting = settingsByName.get(name);
    if (setting === undefined) {
      const hint = nearestOf(name, [...settingsByName.keys()], 0);
      problems.push({
        severity: 'error',
        path: name,
        source: `--${name}`,
        message: `there is no setting ${name}${hint}`,
      });
      continue;
    }
    place(tree, name, typeof value === 'boolean' ? value : fromText(setting, value));
    sources.set(name, `--${name}`);
  }

  const read = readConfig(tree, path => sources.get(rootSetting(path)) ?? sourceInFile(tree, path, fromFile.path));
  problems.push(...read.problems);
  const failed = problems.some(problem => problem.severity === 'error');
  return { config: failed ? undefined : read.config, problems, file: fromFile.path };
}

/** The name that was probably meant, judged by what follows its first `common` characters. A server has too many to list. */
function nearestOf(name: string, known: readonly string[], common: number): string {
  const close = nearest(
    name.slice(common),
    known.map(candidate => candidate.slice(common)),
  );
  return close === undefined
    ? '; tailrace serve --help lists them all'
    : `; did you mean "${name.slice(0, common)}${close}"?`;
}

/** Text of a flag or variable as the value it stands for; what does not fit is left for the schema to refuse. */
function fromText(setting: Setting, value: string | readonly string[]): unknown {
  if (setting.kind === 'list') {
    const texts = typeof value === 'string' ? [value] : value;
    return texts.flatMap(text => text.split(',').map(part => part.trim())).filter(part => part !== '');
  }
  const text = typeof value === 'string' ? value : value.at(-1)!;
  if (setting.nullable && text === 'null') return null;
  if (setting.kind === 'switch') return text === 'true' ? true : text === 'false' ? false : text;
  if (setting.kind === 'count') return /^\d{1,15}$/.test(text) ? Number(text) : text;
  if (setting.kind !== 'rules') return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function place(tree: Record<string, unknown>, name: string, value: unknown): void {
  const keys = name.split('.');
  let at = tree;
  for (const key of keys.slice(0, -1)) {
    const next = at[key];
    if (typeof next !== 'object' || next === null) at[key] = {};
    at = at[key] as Record<string, unknown>;
  }
  at[keys.at(-1)!] = value;
}

/** `rules[0].filter` → `rules`, `origins[1]` → `origins`. */
function rootSetting(path: string): string {
  return path.replace(/\[.*$/, '');
}

function sourceInFile(tree: unknown, path: string, file: string | undefined): string {
  let at = tree;
  for (const key of rootSetting(path).split('.')) at = (at as Record<string, unknown> | null | undefined)?.[key];
  return file !== undefined && at !== undefined ? file : 'default';
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
