import { z } from 'zod';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

export type SettingKind = 'duration' | 'size' | 'count' | 'choice' | 'switch' | 'text' | 'list' | 'rules';

/** What is known of a setting beside its schema: for coercing text, for messages, for the generated docs. */
export interface SettingFacts {
  readonly kind: SettingKind;
  /** What it does, and what 0 or null mean. */
  readonly help: string;
  /** Completes "x is not …": `a duration from 1s to 10m, such as 30s`. */
  readonly allowed: string;
  /** The default as people would write it. */
  readonly shown: string;
  readonly nullable: boolean;
}

export const settingFacts: z.core.$ZodRegistry<SettingFacts> = z.registry<SettingFacts>();

interface Bounds {
  readonly min: number;
  readonly max: number;
}

/** A span of time, in ms once read. */
export function duration(fallback: string, bounds: { min: string; max: string }, help: string): z.ZodType<number> {
  const { min, max } = { min: parseDuration(bounds.min)!, max: parseDuration(bounds.max)! };
  const allowed = `a duration from ${bounds.min} to ${bounds.max}, such as ${fallback}, or a number of milliseconds`;
  return leaf(quantity(parseDuration, { min, max }), parseDuration(fallback)!, {
    kind: 'duration',
    help,
    allowed,
    shown: formatDuration(parseDuration(fallback)!),
    nullable: false,
  });
}

/** A number of bytes. */
export function size(fallback: string, bounds: { min: string; max: string }, help: string): z.ZodType<number> {
  const { min, max } = { min: parseSize(bounds.min)!, max: parseSize(bounds.max)! };
  const allowed = `a size from ${bounds.min} to ${bounds.max}, such as ${fallback}, or a number of bytes`;
  return leaf(quantity(parseSize, { min, max }), parseSize(fallback)!, {
    kind: 'size',
    help,
    allowed,
    shown: formatSize(parseSize(fallback)!),
    nullable: false,
  });
}

/** A span of time that may be left open by null, its default. */
export function optionalDuration(
  bounds: { min: string; max: string },
  help: string,
  example = '7d',
): z.ZodType<number | null> {
  const { min, max } = { min: parseDuration(bounds.min)!, max: parseDuration(bounds.max)! };
  return leaf<number | null>(quantity(parseDuration, { min, max }).nullable(), null, {
    kind: 'duration',
    help,
    allowed: `a duration from ${bounds.min} to ${bounds.max}, such as ${example}, a number of milliseconds, or null`,
    shown: 'null',
    nullable: true,
  });
}

/** A number of bytes that may be switched off by null, its default. */
export function optionalSize(bounds: { min: string; max: string }, help: string): z.ZodType<number | null> {
  const { min, max } = { min: parseSize(bounds.min)!, max: parseSize(bounds.max)! };
  return leaf<number | null>(quantity(parseSize, { min, max }).nullable(), null, {
    kind: 'size',
    help,
    allowed: `a size from ${bounds.min} to ${bounds.max}, such as 10GiB, a number of bytes, or null`,
    shown: 'null',
    nullable: true,
  });
}

/** A whole number of things. */
export function count(fallback: number, { min, max }: Bounds, help: string): z.ZodType<number> {
  return leaf(z.int().min(min).max(max), fallback, {
    kind: 'count',
    help,
    allowed: `a whole number from ${min} to ${max}`,
    shown: String(fallback),
    nullable: false,
  });
}

/** One of a few words; the first is the default unless `fallback` says another. */
export function choice<const Word extends string>(
  words: readonly Word[],
  fallback: NoInfer<Word>,
  help: string,
): z.ZodType<Word> {
  return leaf<Word>(z.enum(words), fallback, {
    kind: 'choice',
    help,
    allowed: `one of ${words.join(', ')}`,
    shown: fallback,
    nullable: false,
  });
}

export function onOff(fallback: boolean, help: string): z.ZodType<boolean> {
  return leaf(z.boolean(), fallback, {
    kind: 'switch',
    help,
    allowed: 'true or false',
    shown: String(fallback),
    nullable: false,
  });
}

export function text(fallback: string, pattern: RegExp, allowed: string, help: string): z.ZodType<string> {
  return leaf(z.string().regex(pattern), fallback, { kind: 'text', help, allowed, shown: fallback, nullable: false });
}

/** A text that has so many ways to be wrong that `faultOf` says which. */
export function described(
  fallback: string,
  faultOf: (value: string) => string | undefined,
  allowed: string,
  help: string,
): z.ZodType<string> {
  const schema = z.string().superRefine((value, context) => {
    const fault = faultOf(value);
    if (fault !== undefined) context.addIssue({ code: 'custom', params: { fault } });
  });
  return leaf(schema, fallback, { kind: 'text', help, allowed, shown: fallback, nullable: false });
}

/** A list of texts, empty by default. */
export function texts(pattern: RegExp, allowed: string, help: string): z.ZodType<readonly string[]> {
  return leaf<readonly string[]>(z.array(z.string().regex(pattern)), [], {
    kind: 'list',
    help,
    allowed,
    shown: '[]',
    nullable: false,
  });
}

/** A schema with its default and its facts. */
export function leaf<T>(schema: z.ZodType<T>, fallback: T, facts: SettingFacts): z.ZodType<T> {
  return schema
    .default(fallback as z.util.NoUndefined<T>)
    .describe(facts.help)
    .register(settingFacts, facts);
}

/** A number within bounds, in the units that `parse` reads. */
export function quantity(parse: (value: unknown) => number | undefined, { min, max }: Bounds): z.ZodType<number> {
  return z.unknown().transform((value, context) => {
    const number = parse(value);
    if (number !== undefined && number >= min && number <= max) return number;
    context.addIssue({ code: 'custom', message: 'not allowed' });
    return z.NEVER;
  });
}
