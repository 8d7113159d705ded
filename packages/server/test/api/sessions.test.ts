import { filterSet } from '@tailrace/protocol';
import { expect, it } from 'vitest';
import { webSocketJson } from '../../src/gateway/frame-encoding.ts';
import type { Outlet, Session } from '../../src/hub/index.ts';
import { type ApiServer, startApi } from './api-server.ts';

const sink: Outlet = { unfinished: 0, left: 0, write() {}, whenFinished() {}, end() {}, destroy() {} };

async function open(server: ApiServer, transport: string, subs: Record<string, string[]>): Promise<Session> {
  const { hub } = server;
  const session = hub.openSession(transport, sink, webSocketJson, { onCut() {}, onEnded() {} });
  for (const [sub, filters] of Object.entries(subs)) {
    const set = filterSet(filters);
    hub.subscribe(session, sub, set, await hub.resolveStart(set, { cursor: undefined, from: undefined }), () => {});
  }
  return session;
}

it('says who listens to a topic, and what a session listens to', async () => {
  await using server = await startApi();
  const a = await open(server, 'sse', { '': ['news/#', 'x'] });
  const b = await open(server, 'websocket', { all: ['#'], one: ['news/sport'], other: ['weather'] });
  const get = async (path: string) =>
    (await (await fetch(`${server.url}${path}`)).json()) as {
      sessions: { session: string; subscriptions: { sub: string }[] }[];
      total: number;
    };

  const listening = await get('/v1/sessions?topic=news/sport');
  expect(listening.total).toBe(2);
  const subs = Object.fromEntries(
    listening.sessions.map(({ session, subscriptions }) => [session, subscriptions.map(({ sub }) => sub).sort()]),
  );
  expect(subs).toEqual({ [a.id]: [''], [b.id]: ['all', 'one'] });
  expect((await get('/v1/sessions?topic=weather')).total).toBe(1);
  expect((await get('/v1/sessions?topic=news/sport&limit=1')).sessions).toHaveLength(1);
  expect((await get('/v1/sessions')).total).toBe(2);

  expect(await get(`/v1/sessions/${a.id}`)).toEqual({
    session: a.id,
    transport: 'sse',
    lagging: false,
    subscriptions: [{ sub: '', filters: ['news/#', 'x'], cursor: server.hub.tokens.of(0, 0), live: true }],
  });
  server.hub.closeSession(a);
  expect((await fetch(`${server.url}/v1/sessions/${a.id}`)).status).toBe(404);
  expect((await get('/v1/sessions?topic=news/sport')).total).toBe(1);
  expect((await fetch(`${server.url}/v1/sessions?topic=a//b`)).status).toBe(400);
});
