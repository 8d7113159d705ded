import * as fs from 'node:fs';
import * as path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blockingDisk } from '../../../src/log/disk/housework/blocking-disk.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('append'), bytes: fc.nat(200_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('sync', 'size', 'read'), bytes: fc.nat(9_000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('overwrite', 'truncate'), bytes: fc.nat(100_000) }) },
);

test('a draft holds what was written to it, in whatever pieces', async () => {
  const directory = temporaryDirectory();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
      const name = path.join(directory, `draft-${number++}`);
      const file = await blockingDisk.open(name, 'create');
      let expected = Buffer.alloc(0);
      for (const [i, { kind, bytes }] of steps.entries()) {
        const position = Math.min(bytes, expected.length);
        if (kind === 'append' || kind === 'overwrite') {
          const at = kind === 'append' ? expected.length : position;
          const data = Buffer.alloc(bytes, i + 1);
          await file.write(data, 0, bytes, at);
          expected = Buffer.concat([expected.subarray(0, at), data, expected.subarray(at + bytes)]);
        } else if (kind === 'truncate') {
          await file.truncate(position);
          expected = expected.subarray(0, position);
        } else if (kind === 'read') {
          const buffer = Buffer.alloc(bytes);
          const read = i % 2 === 0 ? file.readOnce!(buffer, 0, bytes, 5) : file.read(buffer, 0, bytes, 5);
          const there = expected.subarray(5, 5 + bytes);
          expect(await read).toBe(there.length);
          expect(buffer.subarray(0, there.length).equals(there)).toBe(true);
        } else if (kind === 'size') expect(await file.size()).toBe(expected.length);
        else {
          await file.sync();
          // as another process sees it
          expect(fs.readFileSync(name).equals(expected)).toBe(true);
        }
      }
      await file.close();
      expect(fs.readFileSync(name).equals(expected)).toBe(true);
      fs.unlinkSync(name);
    }),
    { numRuns: 60 },
  );
});

test('a draft fails where there is one already', async () => {
  const name = path.join(temporaryDirectory(), 'draft');
  fs.writeFileSync(name, 'there');
  await expect(blockingDisk.open(name, 'create')).rejects.toThrow('EEXIST');
});
