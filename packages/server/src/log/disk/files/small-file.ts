import * as path from 'node:path';
import { crc32 } from 'node:zlib';
import { readAll } from '../segment/read-segment.ts';
import type { Disk } from './disk.ts';
import { replaceFile } from './replace-file.ts';

/** A few lines of JSON that are either wholly old or wholly new: `<json>\n<crc32 in hex>\n`, replaced by rename. */
export async function replaceSmallFile(disk: Disk, directory: string, name: string, value: unknown): Promise<void> {
  const bytes = Buffer.from(withChecksum(JSON.stringify(value)));
  await replaceFile(disk, path.join(directory, name), file => file.write(bytes, 0, bytes.length, 0));
}

/** Undefined when there is no such file; throws when it is damaged. */
export async function readSmallFile(disk: Disk, directory: string, name: string): Promise<unknown> {
  if (!(await disk.list(directory)).includes(name)) return undefined;
  const file = path.join(directory, name);
  const text = (await readAll(disk, file)).toString('utf8');
  const [json = ''] = text.split('\n', 1);
  if (text !== withChecksum(json)) throw new Error(`${file} fails its checksum`);
  return JSON.parse(json);
}

function withChecksum(json: string): string {
  return `${json}\n${crc32(json).toString(16).padStart(8, '0')}\n`;
}
