/** What no waiting mends: what is in the message of the client library, and what to do. */
const refusals: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/authorization violation/i, 'it refuses the user and password, or the token, of the URL'],
  [/does not match certificate's altnames/, 'its certificate is for another address than the URL names'],
  [
    /certificate|self[- ]signed/,
    "its certificate is of no authority that this server trusts: name a file with the authority's certificate by NODE_EXTRA_CA_CERTS",
  ],
  [/does not support 'tls'/, 'it speaks without TLS: the URL has to begin with nats://'],
];

/** Why the server, or this one, refuses the other, with what to do; undefined for everything else. */
export function refusalOf({ message }: Error): string | undefined {
  const found = refusals.find(([pattern]) => pattern.test(message));
  return found && `${found[1]} (${message})`;
}
