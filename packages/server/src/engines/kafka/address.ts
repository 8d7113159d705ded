import { readEngineUrl } from '../../log/engine-url.ts';
import type { KafkaAccess } from './client.ts';

export type SaslMechanism = 'plain' | 'scram-sha-256' | 'scram-sha-512';

const mechanisms = { plain: 'PLAIN', 'scram-sha-256': 'SCRAM-SHA-256', 'scram-sha-512': 'SCRAM-SHA-512' } as const;

/** Reads `kafka://[user:password@]host:port[,host:port]`; `kafkas://` for TLS. */
export function readAddress(url: string, sasl: SaslMechanism): KafkaAccess {
  const { scheme, hosts, user, password } = readEngineUrl(url);
  return {
    brokers: hosts,
    tls: scheme === 'kafkas',
    sasl:
      user === undefined || password === undefined
        ? undefined
        : { mechanism: mechanisms[sasl], username: user, password },
  };
}
