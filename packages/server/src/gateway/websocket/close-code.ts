/** Close codes with which the receiver refuses what a client sent (RFC 6455 §7.4.1). */
export const CloseCode = {
  /** The bytes break the framing rules. */
  protocolError: 1002,
  /** Text or a close reason that is not UTF-8. */
  invalidData: 1007,
  /** A message in too many fragments. */
  policyViolation: 1008,
  /** A message larger than the limit. */
  tooBig: 1009,
} as const;

/**
 * Whether `code` may stand in a close frame (RFC 6455 §7.4.1, §7.4.2, and the IANA registry for 1012–1014).
 * 1005, 1006 and 1015 only ever stand for something that happened without one.
 */
export function isCloseCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
}
