import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Receiver, receive } from '../../../src/gateway/websocket/receiver.ts';
import { announce, clientFrame, fragmented, text } from './client-frames.ts';
import { Recorder, type WireEvent } from './recorder.ts';

const KIB = 1024;

/** Bytes held by buffers once garbage is gone: V8 frees their memory in a thread of its own, some time after `gc()`. */
async function heldByBuffers(): Promise<number> {
  if (gc === undefined) throw new Error('run with --expose-gc');
  let held = Number.POSITIVE_INFINITY;
  for (let unchanged = 0; unchanged < 3; ) {
    gc();
    await setImmediate();
    const now = process.memoryUsage().arrayBuffers;
    unchanged = now === held ? unchanged + 1 : 0;
    held = now;
  }
  return held;
}

function fill(connections: number, chunk: () => Buffer, sink: Recorder): (Receiver | null)[] {
  return Array.from({ length: connections }, () => {
    // a new slab of Node's buffer pool for each connection, so that a state which holds a part of one shows
    for (let used = 0; used <= Buffer.poolSize; used += KIB) Buffer.allocUnsafe(KIB);
    return receive(null, chunk(), sink);
  });
}

test('a connection between two messages has no state at all', () => {
  const sink = new Recorder();
  const states = fill(100, () => Buffer.concat([text('x'), fragmented(1, ['y', 'z'])]), sink);
  expect(states.every(state => state === null)).toBe(true);
  expect(sink.events).toHaveLength(200);
});

test('an announced length is not allocated', async () => {
  const sink = new Recorder({ maxMessageBytes: 64 * 1024 * KIB });
  const before = await heldByBuffers();
  const states = fill(500, () => Buffer.concat([announce(2, 64n * 1024n * 1024n), Buffer.from('some')]), sink);
  expect((await heldByBuffers()) - before).toBeLessThan(1024 * KIB);
  expect(states.every(state => state !== null)).toBe(true);
  expect(sink.events).toEqual([]);
});

test.each([
  ['the beginning of a header', (): Uint8Array => text('abc').subarray(0, 3)],
  ['the beginning of a payload', (): Uint8Array => text('abc').subarray(0, -1)],
  ['a first fragment', (): Uint8Array => clientFrame({ opcode: 1, payload: 'abc', fin: false })],
  ['the beginning of a ping', (): Uint8Array => clientFrame({ opcode: 9, payload: 'abc' }).subarray(0, -1)],
])('%s does not hold the chunk it came in', async (_, tail) => {
  const sink = new Recorder();
  const before = await heldByBuffers();
  const full = text('x'.repeat(64 * KIB - 100));
  const states = fill(200, () => Buffer.concat([full, tail()]), sink);
  sink.events.length = 0;
  expect((await heldByBuffers()) - before).toBeLessThan(1024 * KIB);
  expect(states.every(state => state !== null)).toBe(true);
});

test('empty fragments hold nothing', async () => {
  const sink = new Recorder();
  const before = await heldByBuffers();
  const empty = Buffer.concat(
    Array.from({ length: 1024 }, (_, at) => clientFrame({ opcode: at === 0 ? 1 : 0, fin: false })),
  );
  const states = fill(300, () => Buffer.from(empty), sink);
  expect((await heldByBuffers()) - before).toBeLessThan(256 * KIB);
  expect(states.every(state => state !== null)).toBe(true);
});

test('what is held for a message grows with its bytes, not with the pieces they come in', async () => {
  const sink = new Recorder();
  const stream = text('x'.repeat(100 * KIB));
  const before = await heldByBuffers();
  let state: Receiver | null = null;
  for (let at = 0; at < stream.length - 1; at++) state = receive(state, Buffer.from(stream.subarray(at, at + 1)), sink);
  expect((await heldByBuffers()) - before).toBeLessThan(300 * KIB);
  expect(state).not.toBeNull();
});

// In quadratic time either would copy about 10^13 bytes and run into the time-out.
test('4 MiB in slices of one byte, and in fragments of one byte, take linear time', () => {
  const size = 4 * 1024 * KIB;
  const limits = { maxMessageBytes: size, maxFragments: size };
  const message = Buffer.alloc(size, 'x');
  const expected: WireEvent = { type: 'binary', data: message.toString('latin1') };

  const sliced = new Recorder(limits);
  const stream = clientFrame({ opcode: 2, payload: message });
  let state: Receiver | null = null;
  for (let at = 0; at < stream.length; at++) state = receive(state, stream.subarray(at, at + 1), sliced);
  expect(state).toBeNull();
  expect(sliced.events[0] !== undefined && 'data' in sliced.events[0] && sliced.events[0].data === expected.data).toBe(
    true,
  );

  const inFragments = new Recorder(limits);
  const first = clientFrame({ opcode: 2, payload: 'x', fin: false });
  const next = clientFrame({ opcode: 0, payload: 'x', fin: false });
  const last = clientFrame({ opcode: 0, payload: 'x' });
  for (let at = 0; at < size; at++) {
    state = receive(state, Buffer.from(at === 0 ? first : at === size - 1 ? last : next), inFragments);
  }
  expect(state).toBeNull();
  expect(
    inFragments.events[0] !== undefined &&
      'data' in inFragments.events[0] &&
      inFragments.events[0].data === expected.data,
  ).toBe(true);
});
