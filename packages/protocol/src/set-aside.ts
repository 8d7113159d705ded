import { TailraceError } from './errors.ts';

/**
 * Names that version 1 keeps for later (§10). They are refused as `unsupported` in every spelling, be it a member, a
 * header or a query parameter, so that nobody believes they worked.
 */
export const setAside: Readonly<Record<'message' | 'subscription' | 'request', readonly string[]>> = {
  message: ['to', 'at', 'ttl'],
  subscription: ['where', 'conflate', 'delta', 'consumer', 'group', 'lane'],
  /** In the query of any request. */
  request: ['token'],
};

/** The refusal of a name, or of a value of it, that is kept for later. */
export function unsupported(field: string): TailraceError {
  return new TailraceError('unsupported', `"${field}" is kept for a later version and not offered by this server`, {
    at: { field },
  });
}
