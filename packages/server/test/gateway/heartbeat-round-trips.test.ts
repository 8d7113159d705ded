import { describe, expect, it } from 'vitest';
import { until } from './harness.ts';
import { heartbeatStage, silent } from './heartbeat-stage.ts';

const stage = heartbeatStage();

describe('round trips', () => {
  it('are those of each ping, also when it was sent again before its answer', async () => {
    const peer = await stage.peer(undefined, silent);
    stage.pass(40_000);
    await until(() => peer.payloads.length === 2, 'two pings');
    const [first, second] = peer.pings;
    for (const [i, payload] of peer.payloads.entries()) {
      peer.client.socket.pong(payload);
      await until(() => stage.roundTrips.length === i + 1, 'its answer');
    }
    expect(stage.roundTrips).toEqual([
      [40_000 - first!, 0],
      [40_000 - second!, second! - first!],
    ]);
  });

  it('are not measured by pongs that answer no ping', async () => {
    const peer = await stage.peer(undefined, silent);
    const forged = (ms: number): Buffer => {
      const payload = Buffer.alloc(4);
      payload.writeInt32BE((stage.rooms.gateway.now() + ms) | 0);
      return payload;
    };
    const { socket } = peer.client;
    for (const payload of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(4), forged(-1), forged(0), forged(1)])
      socket.pong(payload);
    await peer.client.ask({ type: 'ping', ref: 0 });
    stage.pass(26_000);
    await until(() => peer.payloads.length === 1, 'a ping');
    const [payload] = peer.payloads;
    for (const late of [forged(1), Buffer.alloc(125), payload!, payload!, forged(-60_000)]) socket.pong(late);
    await peer.client.ask({ type: 'ping', ref: 1 });
    expect(stage.roundTrips).toEqual([[26_000 - peer.pings[0]!, 0]]);
  });

  it('that are long make the server wait longer for answers, and still find a dead peer within 60 s', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(90_000, 25_000); // within the three pings that a peer of unknown speed gets
    const slowest = stage.roundTrips.length;
    expect(slowest).toBeGreaterThan(0);
    await peer.answer(600_000, 45_000); // would be cut after 30 s without an answer
    expect(stage.cuts()).toEqual({});
    const taken = stage.roundTrips.slice(slowest + 3).map(([ms]) => ms);
    expect(taken.length).toBeGreaterThan(5);
    for (const ms of taken) expect(ms).toBe(45_000);
    await peer.client.ask({ type: 'ping', ref: 1 });
    expect(stage.passUntil(() => stage.cuts().silent === 1, 'found')).toBeLessThanOrEqual(60_000);
  });

  it('that are short leave the pace as it is', async () => {
    const peer = await stage.peer(undefined, silent);
    await peer.answer(300_000, 3000);
    for (const [i, at] of peer.pings.slice(1).entries()) expect(at - peer.pings[i]!).toBe(25_000);
  });

  it('are graded with their jitter in two windows', async () => {
    const none = {
      'newest prompt': 0,
      'newest late': 0,
      'newest lost': 0,
      'usual prompt': 0,
      'usual late': 0,
      'usual lost': 0,
    };
    const peer = await stage.peer(undefined, silent);
    await stage.stream();
    expect([await stage.graded('round_trip'), await stage.graded('round_trip_jitter')]).toEqual([none, none]);

    await peer.answer(110_000, 200);
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });

    // an answer that is owed shows in the newest window before it has come
    const seen = peer.pings.length;
    stage.pass(25_000 + 11_000);
    await until(() => peer.payloads.length > seen, 'pings');
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });

    // and so does one that came late, with the jitter that it brings
    peer.client.socket.pong(peer.payloads[seen]!);
    await until(() => stage.roundTrips.length > seen, 'the answer');
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest late': 1, 'usual prompt': 1 });

    await peer.answer(1_500_000, 35_000);
    expect(await stage.graded('round_trip')).toEqual({ ...none, 'newest lost': 1, 'usual lost': 1 });
    expect(await stage.graded('round_trip_jitter')).toEqual({ ...none, 'newest prompt': 1, 'usual prompt': 1 });
  });
});
