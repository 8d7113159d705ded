import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mutatedStream, places, validStream, wildStream } from './random-streams.ts';
import { bytewise, cut, record, type WireEvent } from './recorder.ts';

/** `expect` alone takes longer than the receiver. */
function expectSame(actual: readonly WireEvent[], expected: readonly WireEvent[]): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
}

const limits = { maxMessageBytes: 100_000, maxFragments: 8 };

test('a valid stream gives exactly its messages however it is sliced, and leaves no state behind', () => {
  let messages = 0;
  fc.assert(
    fc.property(validStream, places(12), ({ bytes, events }, slices) => {
      for (const way of [[bytes], bytewise(bytes), cut(bytes, slices)]) {
        const recording = record(way);
        expectSame(recording.events, events);
        if (events.at(-1)?.type !== 'close') expect(recording.state).toBeNull();
      }
      messages += events.length;
    }),
    { numRuns: 400 },
  );
  expect(messages).toBeGreaterThan(400);
});

// `Recorder` throws when something is delivered after the end, so each run asserts that too.
test.each([
  ['mutated', mutatedStream],
  ['wild', wildStream],
  ['of noise', fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes))],
] as const)(
  'a stream %s never throws, never delivers after the end, and means the same however it is sliced',
  (_, stream) => {
    let refused = 0;
    fc.assert(
      fc.property(stream, places(12), (bytes, slices) => {
        const whole = record([bytes], limits);
        for (const way of [bytewise(bytes), cut(bytes, slices)]) expectSame(record(way, limits).events, whole.events);
        if (whole.events.at(-1)?.type === 'error') refused++;
      }),
      { numRuns: 3000 },
    );
    // else the streams would not be broken enough for the test to say anything
    expect(refused).toBeGreaterThan(300);
  },
);
