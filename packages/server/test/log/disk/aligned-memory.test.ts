import * as fs from 'node:fs';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { alignedMemory } from '../../../src/log/disk/files/aligned-memory.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const { O_DIRECT, O_CREAT, O_RDWR } = fs.constants;

test('memory is as long as asked for, and filled with zeros', () => {
  for (const bytes of [1, 65_536, 65_537, 3_000_000]) {
    const memory = alignedMemory(bytes);
    expect(memory.length).toBeGreaterThanOrEqual(bytes);
    expect(memory.every(byte => byte === 0)).toBe(true);
  }
});

// elsewhere there are no direct writes, and on some file systems any memory will do
test.runIf(process.platform === 'linux')('direct writes and reads accept it at every multiple of a block', () => {
  const fd = fs.openSync(path.join(temporaryDirectory(), 'file'), O_RDWR | O_CREAT | O_DIRECT);
  try {
    for (let i = 1; i < 50; i++) {
      const memory = alignedMemory(i * 20_000);
      memory.fill(i);
      for (const at of [0, 4096, 8192]) expect(fs.writeSync(fd, memory, at, 4096, at)).toBe(4096);
      const read = alignedMemory(12_288);
      expect(fs.readSync(fd, read, 0, 12_288, 0)).toBe(12_288);
      expect(read.subarray(0, 12_288).every(byte => byte === i)).toBe(true);
    }
  } finally {
    fs.closeSync(fd);
  }
});
