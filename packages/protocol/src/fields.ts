import { TailraceError } from './errors.ts';
import { didYouMean } from './nearest.ts';

/** `what` has no field of this name. */
export function unknownField(what: string, name: string, known: readonly string[]): TailraceError {
  const shown = name.slice(0, 64);
  return new TailraceError(
    'unknown_field',
    `${what} has no field ${JSON.stringify(shown)}${didYouMean(shown, known)}`,
    { at: { field: shown } },
  );
}

/** A string of 1 to `maxLength` characters, when it is there. */
export function optionalString(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  maxLength: number,
): string | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string')
    throw new TailraceError('bad_request', `${name} must be a string, not ${describe(value)}`, { at: { field: name } });
  if (value.length === 0 || value.length > maxLength)
    throw new TailraceError('bad_request', `${name} must have 1 to ${maxLength} characters`, { at: { field: name } });
  if (!value.isWellFormed())
    throw new TailraceError('bad_request', `${name} has a lone surrogate`, { at: { field: name } });
  return value;
}

/** What a value of JSON is, for people. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
