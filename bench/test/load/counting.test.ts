import { afterEach, describe, expect, test } from 'vitest';
import { countMarkers, expectPayloads, LatencySamples, placeSentinel, readBuffer } from '../../load/counting.ts';
import { FrameReader } from '../../load/frames.ts';
import { makePayload, marker, now, readStamp, stampStart, usualPayload, writeStamp } from '../../load/payload.ts';
import { Sequence } from '../../load/sequence.ts';
import { numbers } from '../../load/site.ts';

const payload = makePayload();

/** Feeds `stream` as a socket would: into the one read buffer, cut anywhere, stale bytes behind each chunk. */
function feed(stream: Buffer, below: (n: number) => number, count: (from: number, to: number) => number): number {
  let total = 0;
  for (let at = 0; at < stream.length; ) {
    const length = Math.min(stream.length - at, 1 + below([12, 400, 65_536, 200_000][below(4)]!));
    stream.copy(readBuffer, 0, at, at + length);
    at += length;
    placeSentinel(length);
    total += count(0, length);
  }
  return total;
}

function frame(opcode: number, body: Buffer): Buffer {
  const long = Buffer.alloc(8);
  long.writeBigUInt64BE(BigInt(body.length));
  const { length } = body;
  const size = length < 126 ? [length] : length < 65_536 ? [126, ...long.subarray(6)] : [127, ...long];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size]), body]);
}

describe('payload', () => {
  test('is JSON of the right length with one marker, also when stamped', () => {
    const stamped = Buffer.from(payload);
    writeStamp(stamped, stampStart, 123_456_789);
    expect(stamped).toHaveLength(usualPayload);
    expect(JSON.parse(stamped.toString())).toHaveProperty('stamp', '¶000123456789');
    expect(stamped.filter(byte => byte === marker)).toHaveLength(1);
    expect(readStamp(stamped, stampStart, stamped.length)).toBe(123_456_789);
  });

  test('a stamp that ends beyond the chunk is not read', () => {
    expect(readStamp(payload, stampStart, stampStart + 11)).toBe(-1);
  });
});

describe('counting', () => {
  afterEach(() => expectPayloads(usualPayload));

  test.each([usualPayload, 131, 1_024, 9_000])(
    'payloads of %i bytes, told or not: exact, and each stamp is read',
    length => {
      const large = makePayload(length);
      expect(large).toHaveLength(length);
      for (let seed = 1; seed <= 20; seed++) {
        expectPayloads(seed % 2 === 0 ? length : usualPayload);
        const below = numbers(seed);
        const stamps = Array.from({ length: 1 + below(300) }, () => below(2 ** 30));
        const parts = stamps.flatMap(stamp => {
          const stamped = Buffer.from(large);
          writeStamp(stamped, stampStart, stamp);
          return [Buffer.from(`id: k3f9.7.${below(100_000)}\ndata: `), stamped, Buffer.from('\n\n')];
        });
        const stream = Buffer.concat(parts);
        expect(feed(stream, below, countMarkers), `seed ${seed}`).toBe(stamps.length);
        const sequence = new Sequence(true);
        expect(
          feed(stream, below, (from, to) => sequence.take(from, to)),
          `seed ${seed}`,
        ).toBe(stamps.length);
        expect(sequence.stamps).toEqual(stamps);
        expect(sequence.sum).toBe(stamps.reduce((sum, stamp) => sum + stamp, 0));
      }
    },
  );

  test('a sequence differs when one is lost, doubled or out of order', () => {
    const digest = (...stamps: number[]): string => {
      const sequence = new Sequence();
      const parts = stamps.map(stamp => {
        const stamped = Buffer.from(payload);
        writeStamp(stamped, stampStart, stamp);
        return stamped;
      });
      feed(Buffer.concat(parts), numbers(1), (from, to) => sequence.take(from, to));
      return `${sequence.sum} ${sequence.hash}`;
    };
    const digests = [digest(5, 6, 7), digest(5, 7), digest(5, 6, 6, 7), digest(5, 7, 6), digest(6, 6, 6)];
    expect(new Set(digests).size).toBe(digests.length);
  });

  test('SSE: exact whatever the framing and wherever chunks end', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const below = numbers(seed);
      const parts: Buffer[] = [];
      const deliveries = below(2_000);
      readBuffer.fill(seed % 2 === 0 ? marker : 0);
      for (let offset = 95; offset < 95 + deliveries; offset++) {
        parts.push(Buffer.from(`id: k3f9.7.${offset}\ndata: ${'x'.repeat(below(8) === 0 ? below(500) : 60)}`), payload);
        if (below(30) === 0) parts.push(Buffer.from('\r\n2f0\r\n: a comment\n\n'));
      }
      expect(feed(Buffer.concat(parts), below, countMarkers), `seed ${seed}`).toBe(deliveries);
    }
  });

  test('WebSocket: exact also where length bytes equal the marker; pings are seen', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const below = numbers(seed);
      const frames: Buffer[] = [];
      let deliveries = 0;
      let pings = 0;
      for (let index = 0; index < 200; index++) {
        if (below(10) === 0) {
          frames.push(frame(9, Buffer.from([marker, marker])));
          pings++;
          continue;
        }
        const batch = below(20) === 0 ? below(600) : below(4);
        deliveries += batch;
        const body = Buffer.concat(Array.from({ length: batch }, () => [Buffer.alloc(below(90), 'y'), payload]).flat());
        const wanted = [0, 0xb6, 0x1b6, 0xb6b6, 0x1_b6b6][below(5)]!;
        frames.push(frame(1, Buffer.concat([body, Buffer.alloc(Math.max(0, wanted - body.length), 'z')])));
      }
      const reader = new FrameReader();
      const counted = feed(Buffer.concat(frames), below, (from, to) => reader.count(from, to));
      expect(counted, `seed ${seed}`).toBe(deliveries);
      expect(reader.pings).toBe(pings);
    }
  });

  test('latency is taken of each delivery that lies whole in the chunk', () => {
    const samples = new LatencySamples();
    const stamped = Buffer.from(payload);
    writeStamp(stamped, stampStart, now() - 5_000);
    const chunk = Buffer.concat([stamped, Buffer.from('\n\n'), stamped, stamped.subarray(0, stampStart + 4)]);
    chunk.copy(readBuffer);
    placeSentinel(chunk.length);
    samples.take(0, chunk.length);
    const { p50, count } = samples.histogram.quantiles();
    expect(count).toBe(2);
    expect(p50).toBeGreaterThanOrEqual(5);
  });
});
