import { crc32 } from 'node:zlib';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { crcOf } from '../../../src/log/disk/segment/crc.ts';

test('of any bytes anywhere in a buffer is that of zlib', () => {
  const bytes = fc.uint8Array({ maxLength: 600 });
  fc.assert(
    fc.property(bytes, fc.nat(), fc.nat(), fc.nat(0xffff_ffff), (content, from, to, seed) => {
      const buffer = Buffer.from(content);
      const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
      const start = from % (buffer.length + 1);
      const end = start + (to % (buffer.length - start + 1));
      expect(crcOf(buffer, view, start, end, seed)).toBe(crc32(buffer.subarray(start, end), seed));
    }),
    { numRuns: 2000 },
  );
});
