/** What a request target with scheme and authority says. */
export interface AbsoluteForm {
  readonly host: string;
  /** Path and query. */
  readonly url: string;
}

/**
 * Reads a request target with scheme and authority, as proxies get it: its authority is the host, whatever `Host` says
 * (RFC 9112 §3.2.2). Undefined for one in another form.
 */
export function absoluteForm(target: string): AbsoluteForm | undefined {
  if (target.charCodeAt(0) === 0x2f) return undefined;
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target);
  if (match === null) return undefined;
  const rest = match[2]!;
  return { host: match[1]!, url: rest.startsWith('/') ? rest : `/${rest}` };
}
