import * as fs from 'node:fs';
import * as path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readBlocks } from '../../../src/log/disk/files/direct-reads.ts';
import type { DraftDisk } from '../../../src/log/disk/files/disk.ts';
import { nodeDisk } from '../../../src/log/disk/files/node-disk.ts';
import { blockingDisk } from '../../../src/log/disk/housework/blocking-disk.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const disks: readonly [string, DraftDisk][] = [
  ['the disk of the log', nodeDisk],
  ['that of the housework', blockingDisk],
];

function fileOf(bytes: number): string {
  const file = path.join(temporaryDirectory(), 'file');
  const content = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) content[i] = (i * 31 + (i >> 8) * 7) % 251;
  fs.writeFileSync(file, content);
  return file;
}

test.each(disks)('%s reads once exactly what it reads otherwise, whatever the range', async (_, disk) => {
  const longest = 700_000;
  for (const bytes of [0, 1, 4096, 5000, 131_072, 600_001]) {
    const path = fileOf(bytes);
    const content = fs.readFileSync(path);
    const file = await disk.open(path, 'read');
    const range = fc.tuple(fc.nat(Math.max(bytes, 10_000) + 5000), fc.nat(longest), fc.nat(100));
    await fc.assert(
      fc.asyncProperty(range, async ([position, length, start]) => {
        const buffer = Buffer.alloc(start + length + 10, 255);
        const expected = content.subarray(position, position + length);
        expect(await file.readOnce!(buffer, start, length, position)).toBe(expected.length);
        expect(buffer.subarray(start, start + expected.length).equals(expected)).toBe(true);
        expect(buffer.subarray(0, start).every(byte => byte === 255)).toBe(true);
        expect(buffer.subarray(start + expected.length).every(byte => byte === 255)).toBe(true);
      }),
      { numRuns: 60 },
    );
    await file.close();
  }
});

test.each(disks)('%s reads once what was just written and not synced, and what lost its name', async (_, disk) => {
  const path = fileOf(300_000);
  const file = await disk.open(path, 'read');
  const writer = fs.openSync(path, 'r+');
  fs.writeSync(writer, Buffer.alloc(200_000, 9), 0, 200_000, 50_001);
  fs.closeSync(writer);
  const written = fs.readFileSync(path);
  fs.unlinkSync(path);
  fs.writeFileSync(path, 'another file');
  const buffer = Buffer.alloc(300_000);
  expect(await file.readOnce!(buffer, 0, buffer.length, 0)).toBe(300_000);
  expect(buffer.equals(written)).toBe(true);
  await file.close();
});

test.each(disks)('%s reads as before where direct reads are refused', async (_, disk) => {
  const path = process.platform === 'linux' ? '/proc/version' : fileOf(200);
  const file = await disk.open(path, 'read');
  const buffer = Buffer.alloc(1000);
  const read = await file.readOnce!(buffer, 0, buffer.length, 0);
  expect(buffer.toString('utf8', 0, read)).toBe(fs.readFileSync(path, 'utf8'));
  await file.close();
});

test('a refusal in the middle is told apart from an error of the disk', async () => {
  const fails = (code: string) => async (): Promise<number> => {
    throw Object.assign(new Error(code), { code });
  };
  const buffer = Buffer.alloc(10);
  expect(await readBlocks(fails('EINVAL'), buffer, 0, 10, 0)).toBeUndefined();
  await expect(readBlocks(fails('EIO'), buffer, 0, 10, 0)).rejects.toThrow('EIO');
});

test('many reads at once do not meet in one memory', async () => {
  const path = fileOf(600_000);
  const content = fs.readFileSync(path);
  const file = await nodeDisk.open(path, 'read');
  const reads = Array.from({ length: 8 }, async (_, i) => {
    const buffer = Buffer.alloc(250_000);
    await file.readOnce!(buffer, 0, buffer.length, i * 40_009);
    return buffer.equals(content.subarray(i * 40_009, i * 40_009 + 250_000));
  });
  expect(await Promise.all(reads)).toEqual(Array.from({ length: 8 }, () => true));
  await file.close();
});
