import { parseArgs } from 'node:util';
import { didYouMean } from '@tailrace/protocol';
import { withoutPassword } from '../log/without-password.ts';
import { type Command, type Input, type Option, UsageError } from './command.ts';

/** Options that every command has. */
export const commonOptions: Readonly<Record<string, Option>> = {
  help: { type: 'switch', short: 'h', help: 'Show this help.' },
};

/** Reads the words after the name of a command; throws UsageError for what it does not know. */
export function parseInput(command: Command, words: readonly string[]): Input {
  const known = { ...command.options, ...commonOptions };
  const { tokens } = parseArgs({
    args: [...words],
    options: Object.fromEntries(
      Object.entries(known).map(([name, option]) => [
        name,
        {
          type: option.type === 'switch' ? ('boolean' as const) : ('string' as const),
          multiple: option.type === 'list',
          ...(option.short === undefined ? {} : { short: option.short }),
        },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const all: Record<string, string | boolean | string[]> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const negated = token.name.startsWith('no-') && !(token.name in known);
    const name = negated ? token.name.slice(3) : token.name;
    const option = Object.hasOwn(known, name) ? known[name] : undefined;
    if (option === undefined || (negated && option.type !== 'switch'))
      throw unknownOption(token.rawName, command, known);
    const { value } = token;
    if (option.type === 'switch') {
      if (value !== undefined && value !== 'true' && value !== 'false')
        throw new UsageError(`--${name} is a switch and takes no value, not "${value}"`);
      if (value !== undefined && negated) throw new UsageError(`--no-${name} takes no value`);
      all[name] = value === undefined ? !negated : value === 'true';
    } else if (value === undefined || (!token.inlineValue && isOption(value, known))) {
      throw new UsageError(`--${name} needs a value: --${name} <${option.value ?? 'value'}>`);
    } else if (option.type === 'list') {
      all[name] = [...((all[name] as string[] | undefined) ?? []), value];
    } else if (all[name] !== undefined) {
      throw new UsageError(`--${name} may be given once`);
    } else {
      all[name] = value;
    }
  }
  if (all.help !== true) checkPositionals(command, positionals);
  return new ParsedInput(positionals, all);
}

/** `--from -5m` has a value that begins with a dash; `--from --json` has lost its value. */
function isOption(value: string, known: Readonly<Record<string, Option>>): boolean {
  return value.startsWith('--') && Object.hasOwn(known, value.slice(2).split('=')[0]!);
}

function unknownOption(rawName: string, command: Command, known: Readonly<Record<string, Option>>): UsageError {
  const hint = didYouMean(
    rawName,
    Object.keys(known).map(name => `--${name}`),
  );
  // a server has more settings than fit on a line
  return new UsageError(
    `tailrace ${command.name} has no option ${rawName}${hint.length < 200 ? hint : '; --help lists them all'}`,
  );
}

function checkPositionals({ name, arguments: usage, positionals: { least, most } }: Command, given: string[]): void {
  if (given.length < least) throw new UsageError(`an argument is missing: tailrace ${name} ${usage}`);
  if (given.length > most)
    throw new UsageError(
      `"${withoutPassword(given[most]!)}" is one argument too many: tailrace ${name} ${usage}${usage === '' ? '' : ' (quote what belongs together)'}`,
    );
}

class ParsedInput implements Input {
  readonly positionals: readonly string[];
  readonly all: Readonly<Record<string, string | boolean | readonly string[]>>;

  constructor(positionals: readonly string[], all: Readonly<Record<string, string | boolean | readonly string[]>>) {
    this.positionals = positionals;
    this.all = all;
  }

  text(name: string): string | undefined {
    const value = this.all[name];
    return typeof value === 'string' ? value : undefined;
  }

  count(name: string, least: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= least) return value;
    throw new UsageError(`--${name} is "${text}", not a whole number from ${least} on`);
  }

  list(name: string): readonly string[] {
    const value = this.all[name];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  on(name: string): boolean {
    return this.all[name] === true;
  }
}
