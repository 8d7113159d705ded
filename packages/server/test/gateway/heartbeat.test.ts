import { describe, expect, it } from 'vitest';
import { until } from './harness.ts';
import { expectTimes, heartbeatStage, silent, subscribe, tick } from './heartbeat-stage.ts';
import { heldLog } from './held-log.ts';
import { RawClient } from './raw-client.ts';
import { SseClient } from './sse-client.ts';

const stage = heartbeatStage();

describe('the heartbeat of a WebSocket', () => {
  it('pings each 25 s as long as it is answered', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(251_000);
    expectTimes(peer.pings.slice(0, 1), [25_000]);
    expect(peer.pings).toHaveLength(10);
    for (const [i, at] of peer.pings.slice(1).entries()) expect(at - peer.pings[i]!).toBe(25_000);
    await until(() => peer.client.of('heartbeat').length === 10, 'a frame beside each');
  });

  it('asks again each 10 s, and gives up after three pings without a sign of life', async () => {
    const peer = await stage.peer(undefined, silent);
    const took = stage.passUntil(() => stage.cuts().silent === 1, 'the cut');
    await peer.client.closed();
    expectTimes([...peer.pings, took], [25_000, 35_000, 45_000, 55_000]);
  });

  it.each([5000, 17_300, 25_000, 29_900, 30_000])('finds a dead peer within 60 s at %i ms', async heartbeat => {
    const again = Math.min(10_000, heartbeat);
    const pings = [0, again, 2 * again].map(later => heartbeat + later + 1100);
    const last = [0, heartbeat * 0.3, heartbeat * 0.99, ...pings];
    for (const [i, quiet] of last.entries()) {
      const peer = await stage.peer({ heartbeat, subscribe }, silent);
      stage.pass(quiet);
      await peer.client.ask({ type: 'ping', ref: 1 });
      expect(stage.cuts().silent ?? 0).toBe(i);
      const took = stage.passUntil(() => stage.cuts().silent === i + 1, 'found');
      expect(took, `after a last sign of life at ${quiet}`).toBeLessThanOrEqual(60_000);
    }
  });

  it('takes any byte for a sign of life, not pongs alone', async () => {
    const peer = await stage.peer(undefined, silent);
    for (let i = 0; i < 30; i++) {
      stage.pass(12_000);
      await peer.client.ask({ type: 'ping', ref: i });
    }
    expect(stage.cuts()).toEqual({});
    expect(stage.roundTrips).toEqual([]);
  });

  it('sends no ping to one that lags, and takes the end of its lag for a sign of life', async () => {
    const peer = await stage.peer(undefined, silent);
    stage.pass(36_000);
    await until(() => peer.pings.length === 2, 'two without answer');
    const { socket } = peer.client;
    socket.pause();
    let sent = 0;
    for (let i = 0; i < 1000 && !peer.session.lagging; i++)
      sent = await stage.rooms.publish('a', `"${'x'.repeat(100_000)}"`);
    peer.session.wrote = false;
    stage.pass(600_000);
    expect([peer.session.wrote, stage.cuts()]).toEqual([false, {}]);
    socket.resume();
    await until(() => peer.client.offsets().at(-1) === sent && !peer.session.lagging, 'all of it');
    stage.passUntil(() => stage.cuts().silent === 1, 'the cut');
    await peer.client.closed();
    expect(peer.pings).toHaveLength(2 + 3);
  });
});

it('a WebSocket whose publishes wait is not cut for answers that the server does not read', async () => {
  const { log, release } = heldLog();
  await stage.begin({}, { log, hub: { publishDeadline: 60_000 } });
  const peer = await stage.peer();
  const { socket } = peer.client;
  const frame = { type: 'publish', messages: Array.from({ length: 500 }, () => ({ topic: 'x', data: 1 })) };
  // both ends run in this process: once the client's bytes stand still for turns on end, the server has stopped reading
  let still = 0;
  let sent = 0;
  for (let before = 0; still < 50; before = socket.bufferedAmount) {
    for (; socket.bufferedAmount < 1024 * 1024; sent++) peer.client.send(frame);
    await new Promise(resolve => setTimeout(resolve, 1));
    still = socket.bufferedAmount === before ? still + 1 : 0;
  }
  stage.pass(300_000);
  expect(stage.cuts()).toEqual({});
  release();
  await until(() => peer.client.of('published').length === sent, 'all read', 20_000);
  const seen = peer.pings.length;
  stage.pass(26_000);
  await until(() => peer.pings.length > seen && stage.roundTrips.length > 0, 'pinged again, and heard');
});

describe('the interval', () => {
  it('is that of the class: the transport, or what the client asked for', async () => {
    await stage.begin({ heartbeat: { sse: 10_000, websocket: 20_000 } });
    const usual = await stage.peer(undefined, silent);
    const often = await stage.peer({ heartbeat: 7000, subscribe }, silent);
    expect([usual.heartbeat, often.heartbeat]).toEqual([20_000, 7000]);
    stage.pass(22_000);
    await until(() => usual.pings.length === 1 && often.pings.length === 3, 'pings');
    expectTimes(usual.pings, [20_000]);
    // without answer it is asked again after 7 s, not 10
    expectTimes(often.pings, [7000, 14_000, 21_000]);
    const { client } = await stage.stream();
    const asked = await stage.stream('filter=a&heartbeat=8000');
    expect((await client.notice('subscribed')).heartbeat).toBe(10_000);
    expect((await asked.client.notice('subscribed')).heartbeat).toBe(8000);
  });

  it('is cut to 5 to 30 s', async () => {
    const told: unknown[] = [];
    for (const heartbeat of [0, 4999, 5000, 30_000, 30_001, 1e9])
      told.push((await stage.peer({ heartbeat, subscribe })).heartbeat);
    expect(told).toEqual([5000, 5000, 5000, 30_000, 30_000, 30_000]);
    for (const [query, heartbeat] of [
      ['0', 5000],
      ['99999999', 30_000],
    ] as const) {
      const { client } = await stage.stream(`filter=a&heartbeat=${query}`);
      expect((await client.notice('subscribed')).heartbeat).toBe(heartbeat);
    }
  });

  it.each(['', '-1', '1.5', '7s', '1e4', '5000&heartbeat=5000'])('in a URL is whole ms, not %j', async text => {
    const client = await SseClient.open(stage.rooms.port, `filter=a&heartbeat=${text}`);
    await client.raw.over();
    expect(client.status).toBe(400);
    expect(client.body).toContain('"field":"heartbeat"');
  });

  it('may be asked for in a POST too', async () => {
    const body = JSON.stringify({ connect: { heartbeat: 6000 }, subscribe });
    const raw = await RawClient.open(stage.rooms.port);
    raw.send(`POST /v1/sse HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect(await raw.has('"subscribed"')).toContain('"heartbeat":6000');
    const comments = (): number => raw.text.split('\n:\n\n').length - 1;
    stage.pass(6000 + 2 * tick);
    await until(() => comments() === 1, 'a heartbeat');
    raw.destroy();
  });
});

describe('the heartbeat of an event stream', () => {
  it('comes each 25 s while nothing else is sent', async () => {
    const { client, session } = await stage.stream();
    expectTimes([stage.passUntilWritten(session)], [25_000]);
    for (let i = 1; i < 8; i++) expect(stage.passUntilWritten(session)).toBe(25_000);
    await until(() => client.blocks.filter(block => block.comment).length === 8, 'as many comments');
  });

  it.each([0.01, 0.3, 0.49, 0.51, 0.9, 0.99])('follows a record, sent at %f of an interval, within one', async part => {
    const { client, session } = await stage.stream();
    stage.pass(25_000 + tick);
    await until(() => client.blocks.some(block => block.comment), 'the first heartbeat');
    stage.pass(25_000 * part);
    await stage.rooms.publish('a');
    await client.count(1);
    expect(stage.passUntilWritten(session)).toBeLessThanOrEqual(25_000 + tick);
    await until(() => client.blocks.filter(block => block.comment).length === 2, 'the second');
  });

  it('is not sent to one that lags', async () => {
    const { client, session } = await stage.stream();
    client.raw.socket.pause();
    for (let i = 0; i < 1000 && !session.lagging; i++) await stage.rooms.publish('a', `"${'x'.repeat(100_000)}"`);
    const { left } = session.outlet;
    stage.pass(600_000);
    expect([session.wrote, session.lagging, session.outlet.left]).toEqual([false, true, left]);
  });
});
