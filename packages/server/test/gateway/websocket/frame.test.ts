import { describe, expect, test } from 'vitest';
import {
  encodeClose,
  encodePing,
  encodePong,
  encodeText,
  headerLength,
  writeHeader,
} from '../../../src/gateway/websocket/frame.ts';
import { Opcode } from '../../../src/gateway/websocket/opcode.ts';
import { recordWs } from './ws-receiver.ts';

const asClient = { isServer: false };

describe('header', () => {
  test.each([
    [0, '8100'],
    [1, '8101'],
    [125, '817d'],
    [126, '817e007e'],
    [127, '817e007f'],
    [65_535, '817effff'],
    [65_536, '817f0000000000010000'],
    [0xffff_ffff, '817f00000000ffffffff'],
    [0x1_0000_0000, '817f0000000100000000'],
    [Number.MAX_SAFE_INTEGER, '817f001fffffffffffff'],
  ])('of a payload of %d bytes', (length, hex) => {
    const target = Buffer.alloc(16, 0xee);
    const end = writeHeader(target, 3, Opcode.text, length);
    expect(end).toBe(3 + headerLength(length));
    expect(target.subarray(3, end).toString('hex')).toBe(hex);
    expect(target.subarray(0, 3).toString('hex')).toBe('eeeeee');
    expect(target.subarray(end).every(byte => byte === 0xee)).toBe(true);
  });

  test('carries the opcode', () => {
    const target = Buffer.alloc(2);
    writeHeader(target, 0, Opcode.binary, 5);
    expect([...target]).toEqual([0x82, 5]);
  });
});

test.each([0, 1, 125, 126, 65_535, 65_536, 70_000])('ws reads a text frame of %d bytes', length => {
  // the last characters are ASCII, so that none is cut
  const payload = Buffer.from('aß☃'.repeat(length / 6).padEnd(length - 3 * Math.floor(length / 6), '.'));
  expect(payload).toHaveLength(length);
  expect(recordWs([encodeText(payload)], asClient)).toEqual([{ type: 'text', data: payload.toString('latin1') }]);
});

test('ws reads pings and pongs', () => {
  const frames = [encodePing(), encodePing(Buffer.from('a')), encodePong(Buffer.alloc(125, 'b'))];
  expect(recordWs(frames, asClient)).toEqual([
    { type: 'ping', data: '' },
    { type: 'ping', data: 'a' },
    { type: 'pong', data: 'b'.repeat(125) },
  ]);
});

describe('close', () => {
  test('without a code has no body', () => {
    expect(encodeClose().toString('hex')).toBe('8800');
  });

  test.each([1000, 1001, 1014, 3000, 4413, 4999])('ws reads code %d with its reason', code => {
    expect(recordWs([encodeClose(code, 'draining ☃')], asClient)).toEqual([
      { type: 'close', code, reason: 'draining ☃' },
    ]);
  });

  test.each([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_536, Number.NaN])('refuses to send code %d', code => {
    expect(() => encodeClose(code)).toThrow(RangeError);
  });

  test('a reason of 123 bytes goes whole, a longer one is cut between characters', () => {
    const fits = 'x'.repeat(123);
    expect(recordWs([encodeClose(1000, fits)], asClient)).toEqual([{ type: 'close', code: 1000, reason: fits }]);
    const tooLong = `${'x'.repeat(121)}☃`;
    expect(recordWs([encodeClose(1000, tooLong)], asClient)).toEqual([
      { type: 'close', code: 1000, reason: 'x'.repeat(121) },
    ]);
  });
});

test('control frames over 125 bytes are refused', () => {
  expect(() => encodePing(Buffer.alloc(126))).toThrow(RangeError);
  expect(() => encodePong(Buffer.alloc(126))).toThrow(RangeError);
});
