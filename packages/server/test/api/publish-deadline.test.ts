import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDiskLog } from '../../src/log/index.ts';
import { SimulatedDisk } from '../log/disk/simulated-disk.ts';
import { until } from '../log/messages.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { type ApiServer, contents, startApi } from './api-server.ts';

let machine: SimulatedDisk;
let server: ApiServer;
beforeEach(async () => {
  machine = new SimulatedDisk(new SeededRandom(1));
  const log = await openDiskLog({ directory: '/simulated', disk: machine.boot(), segmentBytes: 65536 });
  server = await startApi({ log, hub: { publishDeadline: 200 } });
});
afterEach(async () => {
  machine.resume();
  await server[Symbol.asyncDispose]();
});

async function post(path: string, body: string, type = 'application/json'): Promise<Record<string, unknown>> {
  const response = await fetch(server.url + path, { method: 'POST', body, headers: { 'content-type': type } });
  const last = (await response.text()).trimEnd().split('\n').at(-1)!;
  return { status: response.status, ...(JSON.parse(last) as object) };
}

const unknown = { code: 'deadline_exceeded', outcome: 'unknown', retry: 'later', retryAfter: 1000 };

describe('publish.deadline', () => {
  it('answers a publish whose sync does not come back: the outcome is unknown, and a retry finds it', async () => {
    machine.stall = operation => operation === 'sync';
    expect(await post('/v1/topics/a?id=i1', '1')).toMatchObject({ status: 503, ...unknown });
    expect(await post('/v1/publish', '[{"topic":"a","data":2},{"topic":"a","data":3}]')).toMatchObject({
      status: 503,
      ...unknown,
    });
    expect(await post('/v1/publish', '{"topic":"a","data":4}\n', 'application/x-ndjson')).toMatchObject(unknown);
    expect(server.hub.publisher.inFlight).toBe(0);
    expect(server.log.head.offset).toBe(0);

    // what it might have done is done after all
    machine.resume();
    await until('everything is committed', () => server.log.head.offset === 4);
    expect(await post('/v1/topics/a?id=i1', '1')).toMatchObject({ status: 200, offset: 1, duplicate: true });
    expect(await contents(server.log)).toHaveLength(4);
    expect(server.faults).toEqual([]);
  });

  it('acks what is committed although the brake still holds it', async () => {
    server.hub.brake.update(150);
    const answers = [
      post('/v1/topics/a', '1'),
      post('/v1/publish', '[{"topic":"a","data":2},{"topic":"a","data":3}]'),
      post('/v1/topics/a?durability=none', '4'),
    ];
    await until('all are held', () => server.hub.brake.heldCount === 3);
    expect(server.log.head.offset).toBe(3);
    expect(await Promise.all(answers)).toMatchObject([
      { status: 200, duplicate: false },
      { status: 200, results: [{ duplicate: false }, { duplicate: false }] },
      { status: 202 },
    ]);
    // nothing is left behind that waits for a lag that may never come back
    expect(server.hub.brake.lag).toBe(150);
    expect(server.hub.brake.heldCount).toBe(0);
    expect(server.hub.publisher.inFlight).toBe(0);
  });
});
