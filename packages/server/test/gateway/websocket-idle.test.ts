import { describe, expect, it } from 'vitest';
import { expectTimes, heartbeatStage, type Peer, silent } from './heartbeat-stage.ts';

const stage = heartbeatStage();

describe('a session that subscribes to nothing', () => {
  const idle = (): boolean => stage.rooms.gateway.refused.get('idle') === 1;

  it('is closed with `idle` after 30 s', async () => {
    const peer = await stage.peer({});
    expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
    expect([await peer.client.closed(), peer.client.closeReason]).toEqual([4408, 'idle']);
    expect(peer.client.of('error')).toMatchObject([{ code: 'idle', detail: expect.stringContaining('idle.timeout') }]);
  });

  it('stays as long as it sends frames', async () => {
    const peer = await stage.peer({});
    for (let i = 0; i < 10; i++) {
      stage.pass(29_000);
      await peer.client.ask({ type: 'ping', ref: i });
    }
    expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
  });

  it('is closed in time also when its next ping is later', async () => {
    await stage.begin({ idleTimeout: 5000 });
    await stage.peer({});
    expectTimes([stage.passUntil(idle, 'the close')], [5000]);
    await stage.begin({ idleTimeout: 5000 });
    const peer = await stage.peer(undefined, silent);
    await peer.answer(26_000);
    await peer.client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a'] });
    expectTimes([stage.passUntil(idle, 'the close')], [5000]);
    expect(await peer.client.closed()).toBe(4408);
  });

  it('is one only from its last subscription on, whoever ended that', async () => {
    for (const end of [
      (peer: Peer) => peer.client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a'] }),
      async (peer: Peer) => {
        await stage.rooms.publish('a', '', { end: true });
        await peer.client.first('unsubscribed');
      },
    ]) {
      await stage.begin();
      const peer = await stage.peer(undefined, silent);
      await peer.answer(101_000);
      await end(peer);
      expectTimes([stage.passUntil(idle, 'the close')], [30_000]);
      expect(await peer.client.closed()).toBe(4408);
    }
  });
});
