import { TailraceError } from './errors.ts';

/** Bounds of the time between two heartbeats, ms: of what a client may ask for (§7.3) and of the server's settings. */
export const heartbeatMin = 5000;
export const heartbeatMax = 30_000;

/** The heartbeat that a client asks for, cut to the bounds; ms. Throws `bad_request` for what is no whole number. */
export function checkHeartbeat(value: unknown): number {
  if (!Number.isSafeInteger(value))
    throw new TailraceError(
      'bad_request',
      `heartbeat must be whole milliseconds, from ${heartbeatMin} to ${heartbeatMax}`,
      { at: { field: 'heartbeat' } },
    );
  return Math.min(heartbeatMax, Math.max(heartbeatMin, value as number));
}

/** The same, as it came from a URL. */
export function urlHeartbeat(text: string): number {
  return checkHeartbeat(/^\d{1,15}$/.test(text) ? Number(text) : undefined);
}
