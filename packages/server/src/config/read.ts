import { nearest } from '@tailrace/protocol';
import type { z } from 'zod';
import { withoutPassword } from '../log/without-password.ts';
import { checkTogether } from './checks.ts';
import type { Config, ConfigInput } from './config.ts';
import { ConfigError, type ConfigProblem } from './problem.ts';
import { configSchema, ruleAllowed, ruleParts } from './schema.ts';
import { settings, settingsByName } from './settings.ts';

/** Settings after checking: no `config` when any problem is an error. */
export interface ReadConfig {
  readonly config: Config | undefined;
  readonly problems: readonly ConfigProblem[];
}

/** A rule, or a group in one: `rules[0].lag` has `lag`. */
const inRule = /^rules\[\d+\](?:\.(.*))?$/;

/** Says where the value at a dotted path came from. */
export type SourceOf = (path: string) => string;

/** Checks a tree of settings (not flat names) and fills in defaults. */
export function readConfig(input: unknown, sourceOf: SourceOf = () => 'settings'): ReadConfig {
  const read = configSchema.safeParse(input);
  if (!read.success) {
    const problems = read.error.issues.flatMap(issue => explain(issue, input, sourceOf));
    return { config: undefined, problems };
  }
  const problems = checkTogether(read.data, sourceOf);
  return { config: problems.some(problem => problem.severity === 'error') ? undefined : read.data, problems };
}

/** Checked settings from parts of them, such as the options of an embedded server; throws ConfigError. */
export function createConfig(input: ConfigInput = {}): Config {
  const { config, problems } = readConfig(input);
  if (config === undefined) throw new ConfigError(problems);
  return config;
}

/** The settings of a server that was told nothing. */
export function defaultConfig(): Config {
  return createConfig();
}

function explain(issue: z.core.$ZodIssue, input: unknown, sourceOf: SourceOf): ConfigProblem[] {
  const path = dotted(issue.path);
  const source = sourceOf(path);
  const problem = (at: string, message: string): ConfigProblem => ({
    severity: 'error',
    path: at,
    source: sourceOf(at),
    message,
  });
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => {
      const name = path === '' ? key : `${path}.${key}`;
      return problem(name, `there is no setting ${name}${hint(name, path)}`);
    });
  }
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], input);
  const found: unknown = issue.code === 'custom' ? issue.params?.fault : undefined;
  const told = typeof found === 'string' ? `is ${show(value)}: ${found}` : fault(value, allowedAt(path));
  return [{ severity: 'error', path, source, message: `${path === '' ? 'the file' : path} ${told}` }];
}

function fault(value: unknown, allowed: string): string {
  if (value === undefined) return `is missing: it must be ${allowed}`;
  return `is ${show(value)}, not ${allowed}`;
}

/** What may stand at a path: a setting, an element of one, a part of a rule, or a group of settings. */
function allowedAt(path: string): string {
  const setting = settingsByName.get(path);
  if (setting !== undefined) return setting.allowed;
  const rule = /^rules\[\d+\]\.?(.*)$/.exec(path);
  if (rule !== null) return ruleParts[rule[1]!] ?? ruleAllowed;
  const list = settingsByName.get(path.replace(/\[\d+\]$/, ''));
  if (list !== undefined) return `allowed in ${list.allowed}`;
  return path === '' ? 'an object with settings' : `an object with ${childrenOf(path).join(', ')}`;
}

/** The name that was probably meant, or those that may stand beside it. */
function hint(name: string, group: string): string {
  if (settingsByName.has(name)) return ` under this spelling: write it nested, ${nested(name)}`;
  const known = childrenOf(group);
  // the group is right already: that it is part of both names would make any two of them look alike
  const close = nearest(group === '' ? name : name.slice(group.length + 1), known);
  if (close !== undefined) return meant(group === '' || inRule.test(group) ? close : `${group}.${close}`);
  const flat = group === '' ? nearest(name, settingsByName.keys()) : undefined;
  return flat === undefined ? `; known are ${known.join(', ')}` : meant(flat);
}

function meant(name: string): string {
  return `; did you mean "${name}"?`;
}

/** The next part of every name in a group, each once; `''` is the whole tree. */
function childrenOf(group: string): string[] {
  const rule = inRule.exec(group);
  const inside = rule === null ? group : (rule[1] ?? '');
  const all = rule === null ? settings.map(({ name }) => name) : Object.keys(ruleParts);
  const prefix = inside === '' ? '' : `${inside}.`;
  const names = all.filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length));
  return [...new Set(names.map(name => name.split('.')[0]!))];
}

function nested(name: string): string {
  return `"${name.split('.').join(': { ')}: …${' }'.repeat(name.split('.').length - 1)}"`;
}

function dotted(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}

function show(value: unknown): string {
  // whatever stands here by mistake may be the URL of an engine
  const text = JSON.stringify(value, (_, part: unknown) => (typeof part === 'string' ? withoutPassword(part) : part));
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
