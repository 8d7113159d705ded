import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDiskLog } from '../../src/log/index.ts';
import { SimulatedDisk } from '../log/disk/simulated-disk.ts';
import { until } from '../log/messages.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { type ApiServer, contents, RawClient, startApi } from './api-server.ts';

let machine: SimulatedDisk;
let server: ApiServer;

async function start(publishDeadline: number): Promise<void> {
  machine = new SimulatedDisk(new SeededRandom(1));
  const log = await openDiskLog({ directory: '/simulated', disk: machine.boot(), segmentBytes: 65536 });
  server = await startApi({ log, hub: { publishDeadline } });
}
afterEach(async () => {
  machine.resume();
  await server[Symbol.asyncDispose]();
});

async function post(
  path: string,
  body: string,
  type = 'application/json',
  headers: Readonly<Record<string, string>> = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(server.url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': type, ...headers },
  });
  const last = (await response.text()).trimEnd().split('\n').at(-1)!;
  return { status: response.status, ...(JSON.parse(last) as object) };
}

const unknown = { code: 'deadline_exceeded', outcome: 'unknown', retry: 'later', retryAfter: 1000 };

describe('publish.deadline', () => {
  beforeEach(() => start(200));

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

describe('a deadline that the publish names', () => {
  // longer than any test may take: what is answered is answered by its own deadline
  const serverDeadline = 600_000;
  const two = '[{"topic":"a","data":2},{"topic":"a","data":3}]';
  const line = '{"topic":"a","data":4}\n';
  const lines = 'application/x-ndjson';
  beforeEach(() => start(serverDeadline));

  it('ends the wait for a commit that does not come, and for no other publish', async () => {
    machine.stall = operation => operation === 'sync';
    const patient = post('/v1/topics/a', '0');
    await until('it waits', () => server.hub.publisher.inFlight === 1);
    const json = 'application/json';
    const named = await Promise.all([
      post('/v1/topics/a?id=i1&deadline=50', '1'),
      post('/v1/topics/a', '1', json, { 'Tailrace-Deadline': '50' }),
      post('/v1/publish?deadline=50', two),
      post('/v1/publish', '{"topic":"a","data":1}', json, { 'Tailrace-Deadline': '50' }),
      post('/v1/publish?deadline=50', line, lines),
      post('/v1/publish', line, lines, { 'Tailrace-Deadline': '50' }),
    ]);
    for (const answer of named) {
      expect(answer).toMatchObject(unknown);
      expect(answer.detail).toContain('the 50 ms that it named');
    }
    expect(named.slice(0, 4).map(({ status }) => status)).toEqual([503, 503, 503, 503]);
    expect([server.hub.publisher.inFlight, server.log.head.offset]).toEqual([1, 0]);

    // an append that was begun is finished
    machine.resume();
    expect(await patient).toMatchObject({ status: 200, offset: 1 });
    expect(await post('/v1/topics/a?id=i1', '1')).toMatchObject({ status: 200, duplicate: true });
    expect(await contents(server.log)).toHaveLength(8);
    expect(server.faults).toEqual([]);
  });

  it('ends the wait for an ack that the brake holds', async () => {
    server.hub.brake.update(150);
    const patient = post('/v1/topics/a', '0');
    await until('it is held', () => server.hub.brake.heldCount === 1);
    expect(await post('/v1/topics/a?deadline=50', '1')).toMatchObject({ status: 200, offset: 2, duplicate: false });
    expect(await post('/v1/publish?deadline=50', two)).toMatchObject({ status: 200 });
    expect([server.hub.brake.heldCount, server.hub.publisher.inFlight]).toEqual([1, 1]);
    server.hub.brake.update(0);
    expect(await patient).toMatchObject({ status: 200, offset: 1 });
  });

  it('counts for lines from their append, not from the beginning of the request', async () => {
    using client = new RawClient(server.port);
    const chunk = `${line.length.toString(16)}\r\n${line}\r\n`;
    const began = performance.now();
    client.send(
      `POST /v1/publish?deadline=1000 HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${lines}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
    );
    await client.seen('"accepted":1');
    await until('the deadline of the first line is over', () => performance.now() > began + 1100);
    client.send(`${chunk}0\r\n\r\n`);
    expect(await client.seen('"done":true')).toContain('"accepted":2');
  });

  const bad = ['9', '600001', '1e3', '-50', '50.5', '2s', '', '99999999999999999999'];
  it.each(bad)('is refused as %j, and nothing is appended', async value => {
    const query = `?deadline=${value}`;
    const header = { 'Tailrace-Deadline': value };
    const refusals = await Promise.all([
      post(`/v1/topics/a${query}`, '1'),
      post('/v1/topics/a', '1', 'application/json', header),
      post(`/v1/publish${query}`, two),
      post('/v1/publish', two, 'application/json', header),
      post(`/v1/publish${query}`, line, lines),
      post('/v1/publish', line, lines, header),
    ]);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ status: 400, code: 'bad_request', retry: 'never', at: { field: 'deadline' } });
      expect(refusal.detail).toBe(
        'deadline must be whole milliseconds, from 10 to 600000, which is the setting publish.deadline',
      );
    }
    expect(server.log.head.offset).toBe(0);
  });

  it('may be as long as that of the server, and is given once', async () => {
    expect(await post(`/v1/topics/a?deadline=${serverDeadline}`, '1')).toMatchObject({ status: 200 });
    for (const path of ['/v1/topics/a', '/v1/publish'])
      for (const [query, headers] of [
        ['?deadline=50&deadline=50', {}],
        ['?deadline=50', { 'Tailrace-Deadline': '50' }],
      ] as const)
        expect(await post(path + query, '{"topic":"a","data":1}', 'application/json', headers)).toMatchObject({
          status: 400,
          code: 'bad_request',
          at: { field: 'deadline' },
        });
    expect(server.log.head.offset).toBe(1);
  });
});
