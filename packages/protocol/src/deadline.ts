import { TailraceError } from './errors.ts';

/** Shortest deadline that a publish may name, ms (§4.4). */
export const deadlineMin = 10;

/**
 * The deadline that a publish names, ms; `max` is the one of the server. Throws `bad_request` for what is no whole number
 * up to that.
 */
export function checkDeadline(value: unknown, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= deadlineMin && value <= max) return value;
  throw new TailraceError(
    'bad_request',
    `deadline must be whole milliseconds, from ${deadlineMin} to ${max}, which is the setting publish.deadline`,
    { at: { field: 'deadline' } },
  );
}

/** The same, as it came from a URL or a header. */
export function textDeadline(text: string, max: number): number {
  return checkDeadline(/^\d{1,15}$/.test(text) ? Number(text) : undefined, max);
}
