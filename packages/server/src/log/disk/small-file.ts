import * as path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Disk } from './disk.ts';
import { replaceFile } from './replace-file.ts';

/** A few lines of JSON that are either wholly old or wholly new: `<json>\n<crc32 in hex>\n`, replaced by rename. */
export async function replaceSmallFile(disk: Disk, directory: string, name: string, value: unknown): Promise<void> {
  const json = JSON.stringify(value);
  const bytes = Buffer.from(`${json}\n${crc32(json).toString(16).padStart(8, '0')}\n`);
  await replaceFile(disk, path.join(directory, name), file => file.write(bytes, 0, bytes.length, 0));
}

/** Undefined when there is no such file; throws when it is damaged. */
export async function readSmallFile(disk: Disk, directory: string, name: string): Promise<unknown> {
  if (!(await disk.list(directory)).includes(name)) return undefined;
  const file = await disk.open(path.join(directory, name), 'read');
  try {
    const buffer = Buffer.alloc(await file.size());
    await file.read(buffer, 0, buffer.length, 0);
    const [json = '', crc = ''] = buffer.toString('utf8').split('\n');
    if (buffer.toString('utf8') !== `${json}\n${crc}\n` || crc !== crc32(json).toString(16).padStart(8, '0'))
      throw new Error(`${path.join(directory, name)} fails its checksum`);
    return JSON.parse(json);
  } finally {
    await file.close();
  }
}
