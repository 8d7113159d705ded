import { expect } from 'vitest';
import type { Log } from '../../src/log/log.ts';
import { message, until } from '../log/messages.ts';
import type { FaultyProxy } from './faulty-proxy.ts';

/**
 * Retention removes what `behind`, behind `proxy`, has not read; `other` is on the same log, of which both have nothing yet.
 * Then the log goes from offset 42 to 52.
 */
export async function isOvertaken(behind: Log, other: Log, proxy: FaultyProxy): Promise<void> {
  await other.append([message('a', 'before')], 'fsync');
  await until('both are at the head', () => behind.head.offset === 1);
  const told: string[] = [];
  behind.tail({
    onCommit: batch => told.push(...Array.from(batch.records(), ({ offset }) => `${offset}`)),
    onRewind: () => told.push('rewind'),
  });
  proxy.stall();
  for (let i = 0; i < 50; i++) await other.append([message('a', `${i}`)], 'fsync');
  await other.trim(41);
  proxy.cut();
  proxy.resume();
  await until('it has caught up', () => behind.head.offset === other.head.offset);
  await other.append([message('a', 'after')], 'fsync');
  await until('it goes on', () => told.at(-1) === '52');
  expect(told).toEqual(['rewind', '52']);
}
