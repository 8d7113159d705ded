import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defaultInputLimits } from '@tailrace/protocol';
import { expect, it } from 'vitest';
import { Answers } from '../../src/api/answers.ts';
import { Bodies } from '../../src/api/bodies.ts';
import { readQuery } from '../../src/api/route.ts';
import { replayRoute } from '../../src/api/routes/replay.ts';
import { stateRoute } from '../../src/api/routes/state.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { startApi } from './api-server.ts';

it.each([
  ['/v1/log', replayRoute],
  ['/v1/state', stateRoute],
])('an answer of %s that is over is not looked at any more', async (_, routeOf) => {
  await using api = await startApi();
  const answers = new Answers(() => {});
  // its time stands still: nothing is swept, so what is left has not been taken away
  const bodies = new Bodies(answers, new ManualClock(), 1000);
  const route = routeOf({ hub: api.hub, limits: defaultInputLimits, answers, bodies, stallMax: 1000 });
  const left: number[] = [];
  const server = createServer(async (req, res) => {
    const query = readQuery('filter=a', route.query);
    await route.handle({ req, res, query, path: {}, cors: [], header: () => {} });
    left.push(bodies.size);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (const method of ['GET', 'HEAD', 'HEAD']) {
    const asked = request({ port, host: '127.0.0.1', method, agent: false }).end();
    const [res] = await once(asked, 'response');
    res.resume();
    await once(res, 'end');
    expect(res.statusCode).toBe(200);
  }
  expect(left).toEqual([0, 0, 0]);
  server.close();
  bodies.close();
});
