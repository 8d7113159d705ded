import { withoutPassword } from '../../log/without-password.ts';
import type { KafkaAccess } from './client.ts';

export type SaslMechanism = 'plain' | 'scram-sha-256' | 'scram-sha-512';

const defaultPort = 9092;
const mechanisms = { plain: 'PLAIN', 'scram-sha-256': 'SCRAM-SHA-256', 'scram-sha-512': 'SCRAM-SHA-512' } as const;

/** Reads `kafka://[user:password@]host:port[,host:port]`; `kafkas://` for TLS. */
export function readAddress(url: string, sasl: SaslMechanism): KafkaAccess {
  const match = /^(kafkas?):\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)$/.exec(url);
  if (match === null)
    throw new Error(`engine ${withoutPassword(url)} is not kafka://[user:password@]host:port[,host:port]`);
  const [, scheme, username, password, hosts] = match;
  return {
    brokers: hosts!.split(',').map(place => {
      const colon = place.lastIndexOf(':');
      return colon === -1
        ? { host: place, port: defaultPort }
        : { host: place.slice(0, colon), port: Number(place.slice(colon + 1)) };
    }),
    tls: scheme === 'kafkas',
    sasl:
      username === undefined || password === undefined
        ? undefined
        : {
            mechanism: mechanisms[sasl],
            username: decodeURIComponent(username),
            password: decodeURIComponent(password),
          },
  };
}
