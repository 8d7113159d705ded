import { checkTopic, type InputLimits, TailraceError } from '@tailrace/protocol';
import type { Hub, Session, Subscription } from '../../hub/index.ts';
import type { ApiRoute, Schema } from '../route.ts';

const subscriptionSchema: Schema = {
  type: 'object',
  required: ['sub', 'filters', 'cursor', 'live'],
  properties: {
    sub: { type: 'string' },
    filters: { type: 'array', items: { type: 'string' } },
    cursor: { type: 'string', description: 'it has been sent everything up to here' },
    live: { type: 'boolean', description: 'false while it reads on by its own cursor' },
  },
};

const sessionSchema: Schema = {
  type: 'object',
  required: ['session', 'transport', 'lagging', 'subscriptions'],
  properties: {
    session: { type: 'string' },
    transport: { type: 'string' },
    lagging: { type: 'boolean', description: 'its last buffer is unfinished' },
    subscriptions: { type: 'array', items: subscriptionSchema },
  },
};

/** `GET /v1/sessions?topic=`: who listens to this topic now; without one, who is connected. */
export function sessionsRoute(hub: Hub, limits: InputLimits): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/sessions',
    summary: 'Who is connected, or who listens to a topic',
    tag: 'sessions',
    query: {
      topic: { type: 'text', description: 'only sessions with a subscription that matches this topic' },
      limit: { type: 'integer', min: 1, max: 1000, default: 100, description: 'sessions shown' },
    },
    answers: {
      200: {
        description: 'sessions, each with its subscriptions (with `topic`: those that match)',
        contentType: 'application/json',
        schema: {
          type: 'object',
          required: ['sessions', 'total'],
          properties: {
            sessions: { type: 'array', items: sessionSchema },
            total: { type: 'integer', description: 'how many there are, shown or not' },
          },
        },
      },
    },
    errors: ['topic_invalid'],
    handle: ({ query }) => {
      const limit = query.integer('limit')!;
      const topic = query.text('topic');
      if (topic === undefined) {
        const shown = [...take(hub.sessions.values(), limit)];
        return { sessions: shown.map(session => show(hub, session, session.subscriptions)), total: hub.sessions.size };
      }
      checkTopic(topic, limits);
      const listening = new Map<Session, Subscription[]>();
      for (const { session, subscription } of hub.listeners(topic)) {
        const subscriptions = listening.get(session);
        if (subscriptions === undefined) listening.set(session, [subscription]);
        else subscriptions.push(subscription);
      }
      const shown = [...take(listening, limit)];
      return {
        sessions: shown.map(([session, subscriptions]) => show(hub, session, subscriptions)),
        total: listening.size,
      };
    },
  };
}

/** `GET /v1/sessions/{id}`: what this session listens to. */
export function sessionRoute(hub: Hub): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/sessions/{id}',
    summary: 'What one session listens to',
    tag: 'sessions',
    pathParameters: { id: 'the session, as `welcome` or `subscribed` named it' },
    query: {},
    answers: { 200: { description: 'the session', contentType: 'application/json', schema: sessionSchema } },
    errors: ['not_found'],
    handle: ({ path }) => {
      const session = hub.sessions.get(path.id!);
      if (session === undefined)
        throw new TailraceError('not_found', `no session ${JSON.stringify(path.id!.slice(0, 64))} is connected here`);
      return show(hub, session, session.subscriptions);
    },
  };
}

function show(hub: Hub, session: Session, subscriptions: readonly Subscription[]): object {
  return {
    session: session.id,
    transport: session.transport,
    lagging: session.lagging,
    subscriptions: subscriptions.map(subscription => {
      const live = subscription.index >= 0;
      const at = live ? subscription.cohort : subscription;
      return {
        sub: subscription.sub,
        filters: subscription.filters.filters,
        cursor: hub.tokens.of(at.offset, at.time),
        live,
      };
    }),
  };
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    if (left-- <= 0) return;
    yield item;
  }
}
