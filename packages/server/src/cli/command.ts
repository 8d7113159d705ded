/** One command of the CLI: what `--help` says and what runs. Each lives in a file of its own, loaded when asked for. */
export interface Command {
  /** `sub`, or `log verify` for one of several in a file. */
  readonly name: string;
  /** What follows the name: `<topic> [data]`. */
  readonly arguments: string;
  /** One sentence. */
  readonly summary: string;
  /** Paragraphs below the usage line. */
  readonly details?: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  readonly examples: readonly Example[];
  /** Exit codes that mean something else than in `help.ts`. */
  readonly exitCodes?: Readonly<Record<number, string>>;
  /** How many positional arguments it takes. */
  readonly positionals: { readonly least: number; readonly most: number };
  /** Returns the exit code. Throws `UsageError` or `CommandError` for what people can mend. */
  run(input: Input): Promise<number>;
}

export interface Option {
  /** A `switch` has no value. `list` may be given several times. */
  readonly type: 'text' | 'switch' | 'list';
  readonly short?: string;
  /** Name of the value in `--help`. */
  readonly value?: string;
  readonly help: string;
  /** Heading under which `--help` lists it; `Options` when left out. */
  readonly group?: string;
}

export interface Example {
  readonly command: string;
  readonly does: string;
}

/** What was typed after the name of the command. */
export interface Input {
  readonly positionals: readonly string[];
  /** Value of a text option. */
  text(name: string): string | undefined;
  /** Value of a text option that has to be a whole number of at least `least`. */
  count(name: string, least: number): number | undefined;
  list(name: string): readonly string[];
  on(name: string): boolean;
  /** All options as typed, by name. */
  readonly all: Readonly<Record<string, string | boolean | readonly string[]>>;
}

/** The command line cannot be understood: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command could not do its work for a reason that people can mend: a message without a stack, exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}
