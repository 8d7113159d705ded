import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FrameHeader,
  findFrame,
  finishFrame,
  frameHeaderBytes,
  writeFrame,
} from '../../../src/log/disk/segment/frame.ts';
import {
  decodeRecord,
  encodeRecord,
  recordIsWhole,
  recordTopicNumber,
} from '../../../src/log/disk/segment/record-codec.ts';
import { decodeSegmentHeader, encodeSegmentHeader } from '../../../src/log/disk/segment/segment-header.ts';
import { parseSegmentName, segmentName } from '../../../src/log/disk/segment/segment-name.ts';
import { encodedBound } from '../../../src/log/intake.ts';
import { LogRecord } from '../../../src/log/record.ts';
import { message, plain } from '../messages.ts';

const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 100 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
);
const wellFormed = text.map(value => value.toWellFormed());
// a header name never has an underscore, so that `__proto__` is none
const headerName = wellFormed.filter(name => !name.includes('_'));
const optional = fc.option(wellFormed, { nil: undefined });

const records = fc
  .record({
    topic: wellFormed,
    data: fc.uint8Array({ maxLength: 300 }),
    contentType: optional,
    event: optional,
    id: optional,
    key: optional,
    by: optional,
    headers: fc.option(fc.dictionary(headerName, wellFormed, { maxKeys: 4, noNullPrototype: true }), {
      nil: undefined,
    }),
    producer: optional,
    end: fc.boolean(),
    ahead: fc.nat(0xffff_fffe),
    time: fc.nat(2 ** 47),
    number: fc.nat(0xffff_ffff),
  })
  .map(({ ahead, time, number, topic, data, producer, ...fields }) => ({
    first: 5_000_000_000,
    number,
    record: new LogRecord(
      5_000_000_000 + ahead,
      time,
      message(topic, data, { ...fields, producer, sequence: producer === undefined ? undefined : 2 ** 53 - 1 }),
    ),
  }));

describe('a record', () => {
  test('comes back as it was, within the bytes that were foreseen', () => {
    fc.assert(
      fc.property(records, fc.nat(100), ({ record, first, number }, at) => {
        const bound = encodedBound(record);
        const buffer = Buffer.alloc(at + bound, 0xaa);
        const end = encodeRecord(buffer, viewOf(buffer), at, record, record.offset - first, record.time, number, 77);
        expect(end).toBeLessThanOrEqual(at + bound);
        expect(recordIsWhole(buffer, at, 77)).toBe(true);
        expect(recordIsWhole(buffer, at, 78)).toBe(false);
        expect(plain(decodeRecord(buffer, at, first))).toEqual(plain(record));
        expect(recordTopicNumber(buffer, at)).toBe(number);
      }),
      { numRuns: 500 },
    );
  });

  test('with any bit changed, or cut short, is not whole', () => {
    fc.assert(
      fc.property(records, fc.nat(), ({ record, first, number }, pick) => {
        const buffer = Buffer.alloc(encodedBound(record));
        const end = encodeRecord(buffer, viewOf(buffer), 0, record, record.offset - first, record.time, number, 77);
        const whole = buffer.subarray(0, end);
        const bit = pick % (end * 8);
        whole[bit >>> 3]! ^= 1 << (bit & 7);
        expect(recordIsWhole(whole, 0, 77)).toBe(false);
        whole[bit >>> 3]! ^= 1 << (bit & 7);
        expect(recordIsWhole(whole.subarray(0, pick % end), 0, 77)).toBe(false);
      }),
    );
  });
});

describe('a frame', () => {
  const offset = fc.nat(Number.MAX_SAFE_INTEGER);

  test('comes back as it was; with any bit changed it is none', () => {
    fc.assert(
      fc.property(
        fc.record({
          body: fc.uint8Array({ maxLength: 200 }),
          first: offset,
          last: offset,
          durable: offset,
          time: offset,
        }),
        fc.nat(0xffff_ffff),
        fc.nat(),
        ({ body, first, last, durable, time }, previous, pick) => {
          const buffer = Buffer.alloc(8 + frameHeaderBytes + body.length);
          buffer.set(body, 8 + frameHeaderBytes);
          writeFrame(buffer, 8, buffer.length, 3, first, last, time, 5);
          const crc = finishFrame(buffer, 8, durable, previous, 5);
          const header = new FrameHeader();
          expect(findFrame(buffer, 0, 5, header)).toBe(8);
          expect(header).toMatchObject({ crc, count: 3, first, last, durable, time, previousCrc: previous });
          expect(header.bodyIsWhole(buffer, 8, 5)).toBe(true);
          expect(findFrame(buffer, 0, 6, header)).toBe(-1);
          const bit = pick % ((buffer.length - 8) * 8);
          buffer[8 + (bit >>> 3)]! ^= 1 << (bit & 7);
          expect(header.read(buffer, 8, 5) && header.bodyIsWhole(buffer, 8, 5)).toBe(false);
        },
      ),
    );
  });
});

describe('a segment', () => {
  const header = {
    generation: 3,
    number: 2 ** 40 + 1,
    epoch: 1_795_000_000,
    firstOffset: Number.MAX_SAFE_INTEGER,
    created: 1_795_000_000_000,
    previousCrc: 0xffff_ffff,
    logId: 'abcdefgh12345678',
    secret: new Uint8Array(16).fill(9),
    framesAt: 128,
  };

  test('has a header that comes back, and in which no bit can change', () => {
    const bytes = encodeSegmentHeader(header);
    expect(decodeSegmentHeader(bytes)).toEqual(header);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >>> 3]! ^= 1 << (bit & 7);
      expect(decodeSegmentHeader(damaged)).toBeTypeOf('string');
    }
  });

  test('has a name that sorts as its offset does', () => {
    const offsets = [1, 9, 10, 99_999, Number.MAX_SAFE_INTEGER];
    const names = offsets.map(offset => segmentName(offset, 0));
    expect([...names].sort()).toEqual(names);
    expect(names.map(name => parseSegmentName(name)?.firstOffset)).toEqual(offsets);
    for (const name of [
      '1.0000.log',
      '0000000000000000.0000.log',
      '0000000000000001.0000.idx',
      '9999999999999999.0000.log',
    ])
      expect(parseSegmentName(name)).toBeUndefined();
  });
});

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}
