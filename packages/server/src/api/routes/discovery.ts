import { durabilities } from '@tailrace/protocol';
import type { ApiRoute, Schema } from '../route.ts';

/** What a client can know of a server before it connects (§8). */
export interface ServerFacts {
  /** Name and version, as in `welcome`. */
  readonly server: string;
  readonly protocols: readonly string[];
  readonly transports: readonly string[];
  readonly features: readonly string[];
  /** ms between heartbeats; a stream that differs tells its own. */
  readonly heartbeat: number;
  /** Classes that a publish may ask for. */
  readonly durabilities: readonly string[];
  /** How long repeated publishes are recognised: newest ids, and ms. */
  readonly dedupe: { readonly ids: number; readonly age: number };
  readonly limits: Readonly<Record<string, number>>;
}

const strings: Schema = { type: 'array', items: { type: 'string' } };

export function discoveryRoute(facts: ServerFacts): ApiRoute {
  return {
    method: 'GET',
    path: '/v1',
    summary: 'What this server offers',
    tag: 'server',
    query: {},
    answers: {
      200: {
        description: 'the offer',
        contentType: 'application/json',
        schema: {
          type: 'object',
          required: [
            'server',
            'protocols',
            'transports',
            'features',
            'heartbeat',
            'durabilities',
            'dedupe',
            'limits',
            'origin',
            'session',
          ],
          properties: {
            server: { type: 'string' },
            protocols: strings,
            transports: strings,
            features: strings,
            heartbeat: { type: 'integer', description: 'ms; a stream that differs tells its own' },
            durabilities: { type: 'array', items: { enum: durabilities } },
            dedupe: { type: 'object', properties: { ids: { type: 'integer' }, age: { type: 'integer' } } },
            limits: { type: 'object', additionalProperties: { type: 'integer' } },
            origin: { enum: ['allowed', 'refused'] },
            session: { type: ['object', 'null'] },
          },
        },
      },
    },
    errors: [],
    // a page of a refused origin never gets this far, so whoever reads it is allowed
    handle: call => {
      call.header('Cache-Control', 'no-store');
      return { ...facts, origin: 'allowed', session: null };
    },
  };
}
