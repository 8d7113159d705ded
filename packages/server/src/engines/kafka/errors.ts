import { findErrorBy } from '@platformatic/kafka';

/** What Node says of a certificate that it does not take. */
const untrusted: ReadonlySet<unknown> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
]);
const invalid: ReadonlySet<unknown> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

type Detailed = Error & { readonly code?: unknown; readonly apiId?: unknown; readonly response?: unknown };

/** Name of the first error that a broker answered with; undefined when the request or its answer did not get through. */
export function brokerError(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return innermost(error).apiId as string | undefined;
}

export function isError(error: unknown, apiId: string): boolean {
  return error instanceof Error && findErrorBy(error, 'apiId', apiId) !== null;
}

/** Says what went wrong, without what only counts attempts, and what to do where that is known. */
export function reasonOf(error: unknown): string {
  const refusal = refusalOf(error);
  if (refusal !== undefined) return refusal;
  const inner = innermost(error as Error);
  const reason = inner.cause instanceof Error ? `${inner.message}: ${inner.cause.message}` : inner.message;
  if (reason.includes('TLS handshake failed'))
    return `${reason} Where the listener speaks without TLS, the URL begins with kafka://`;
  if (reason === 'Connection closed')
    return 'it closes the connection: where the listener wants a user and password, or TLS, the URL has to say so (kafka://user:password@…, kafkas://…)';
  return reason;
}

/** Why no waiting will do: the brokers, or this server, refuse the other; undefined for everything else. */
export function refusalOf(error: unknown): string | undefined {
  for (const one of everyError(error)) {
    if (one.apiId === 'UNSUPPORTED_SASL_MECHANISM') return unsupported(error);
    if (one.apiId === 'ILLEGAL_SASL_STATE')
      return 'this listener takes no user and password: leave them out of the URL, or name the listener that does';
    if (untrusted.has(one.code))
      return `its certificate is of no authority that this server trusts (${one.message}): name a file with the authority's certificate by NODE_EXTRA_CA_CERTS`;
    if (invalid.has(one.code)) return `its certificate is not to be accepted: ${one.message}`;
    if (one.message === 'Broker requires TLS.') return 'it wants TLS: the URL has to begin with kafkas://';
  }
  for (const { code } of everyError(error))
    if (code === 'PLT_KFK_AUTHENTICATION')
      return 'it refuses the user or the password, or has none of this name for the mechanism that kafka.sasl says';
  return undefined;
}

function unsupported(error: unknown): string {
  for (const { response } of everyError(error)) {
    const { mechanisms } = (response ?? {}) as { readonly mechanisms?: readonly string[] };
    if (mechanisms !== undefined)
      return `it does not take the user and password as kafka.sasl says: set it to one of ${mechanisms.join(', ').toLowerCase()}`;
  }
  return 'it does not take the user and password as kafka.sasl says';
}

function innermost(error: Error): Detailed {
  let inner: Error = error;
  while (inner instanceof AggregateError && inner.errors.length > 0) inner = inner.errors[0] as Error;
  return inner;
}

/** The error, those that it gathers, and their causes. */
function* everyError(error: unknown): Iterable<Detailed> {
  if (!(error instanceof Error)) return;
  yield error;
  if (error instanceof AggregateError) for (const one of error.errors) yield* everyError(one);
  yield* everyError(error.cause);
}
