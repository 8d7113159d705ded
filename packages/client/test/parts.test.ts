import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextAttemptIn } from '../src/backoff.ts';
import { surroundings } from '../src/environment.ts';
import { Ladder } from '../src/ladder.ts';
import { messageOf, wireMessage } from '../src/message.ts';
import { Saved } from '../src/saved.ts';
import { Seen } from '../src/seen.ts';
import { poll } from '../src/transports/poll.ts';
import { sse } from '../src/transports/sse.ts';
import { SseText } from '../src/transports/sse-text.ts';
import { webSocket } from '../src/transports/web-socket.ts';

const envelope = (topic: string, offset: number, time: number) => ({ topic, offset, time });

describe('the wait before an attempt', () => {
  test('a first connection is tried three times 500 ms apart, then as after a loss', () => {
    const waits = [1, 2, 3, 4, 5].map(failures => nextAttemptIn(failures, true, undefined, () => 0.999));
    expect(waits).toEqual([500, 500, 100, 200, 400]);
  });

  test('after a loss it is drawn from 0 to 100 ms doubled with each failure, 30 s at most', () => {
    for (let failures = 1; failures < 40; failures++) {
      const most = Math.min(30_000, 100 * 2 ** (failures - 1));
      expect(nextAttemptIn(failures, false, undefined, () => 0)).toBe(0);
      expect(nextAttemptIn(failures, false, undefined, () => 0.9999999)).toBe(most);
    }
  });

  test('what the server asks for wins', () => {
    expect(nextAttemptIn(1, true, 7000, () => 0.5)).toBe(7000);
  });
});

describe('transports', () => {
  const all = [webSocket, sse, poll];
  const environment = { ...surroundings, WebSocket: class {} as never };

  test('five failures in a row move to the next, and from the last to the first', () => {
    const ladder = new Ladder(all, environment, undefined);
    const tried = Array.from({ length: 20 }, () => {
      const { name } = ladder.current;
      ladder.failed(false);
      return name;
    });
    expect(tried).toEqual([
      ...Array(5).fill('websocket'),
      ...Array(5).fill('sse'),
      ...Array(5).fill('poll'),
      ...Array(5).fill('websocket'),
    ]);
  });

  test('one that works in between counts', () => {
    const ladder = new Ladder(all, environment, undefined);
    for (let i = 0; i < 4; i++) ladder.failed(false);
    ladder.worked(webSocket);
    for (let i = 0; i < 4; i++) ladder.failed(false);
    expect(ladder.current).toBe(webSocket);
  });

  test('silence is found out sooner; what worked is where it begins; a better one is looked for ever more seldom', () => {
    const ladder = new Ladder(all, environment, 'sse');
    expect([ladder.current, ladder.better, ladder.lookIn, ladder.lookIn]).toEqual([sse, [webSocket], 30_000, 60_000]);
    ladder.failed(true);
    ladder.failed(true);
    expect(ladder.current).toBe(poll);
    ladder.worked(webSocket);
    expect(ladder.lookIn).toBeUndefined();
  });

  test('what the environment lacks is not tried', () => {
    const ladder = new Ladder(all, { ...environment, WebSocket: undefined }, undefined);
    expect(ladder.current).toBe(sse);
  });
});

describe('what was seen', () => {
  test('is not given again; what has an offset for the second time is younger', () => {
    const seen = new Seen(new Map([['a', { offset: 5, time: 50 }]]));
    expect(seen.isNew(envelope('a', 5, 50))).toBe(false);
    expect(seen.isNew(envelope('a', 4, 40))).toBe(false);
    expect(seen.isNew(envelope('b', 4, 40))).toBe(true);
    expect(seen.isNew(envelope('b', 4, 40))).toBe(false);
    // the log had lost it
    expect(seen.isNew(envelope('a', 5, 90))).toBe(true);
    expect(seen.isNew({ topic: 'a', time: 1 })).toBe(true);
    seen.clear();
    expect(seen.isNew(envelope('a', 1, 1))).toBe(true);
  });

  test('the newest topics are known, whatever their number', () => {
    const seen = new Seen();
    for (let n = 0; n < 10_000; n++) expect(seen.isNew(envelope(`t/${n}`, n + 1, n))).toBe(true);
    for (let n = 8500; n < 10_000; n++) expect(seen.isNew(envelope(`t/${n}`, n + 1, n))).toBe(false);
  });
});

test('an event stream is read alike however it is cut', () => {
  const stream = 'retry: 1500\ndata: {"a":"ü"}\n\n:\n\ndata: {"b":2}\n\ndata: {"c":"data: x"}\n\n';
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), cuts => {
      const heard: unknown[] = [];
      const text = new SseText(
        data => heard.push(JSON.parse(data)),
        ms => heard.push(ms),
      );
      const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
      for (let i = 1; i < at.length; i++) text.take(stream.slice(at[i - 1], at[i]));
      expect(heard).toEqual([1500, { a: 'ü' }, { b: 2 }, { c: 'data: x' }]);
    }),
  );
});

test('bytes travel as bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70_000 }), bytes => {
      const { data, encoding, contentType } = wireMessage('t', bytes, {});
      expect([encoding, contentType]).toEqual(['base64', 'application/octet-stream']);
      const message = messageOf<Uint8Array>({ topic: 't', time: 1, data, encoding: 'base64' });
      expect(message.data).toEqual(bytes);
      expect('encoding' in message).toBe(false);
    }),
    { numRuns: 20 },
  );
});

test('a kept cursor that is none begins as if there were none', async () => {
  for (const text of [undefined, '', 'null', '{', '7', '[]', '"x"', '[7]', '["k.1.2",["t"]]', '["k.1.2",7]']) {
    const saved = await Saved.load({ load: () => text, save: () => {} }, 'key', surroundings);
    expect([text, saved.cursor]).toEqual([text, undefined]);
    saved.close();
  }
});
