import { filterSet, type Message } from '@tailrace/protocol';
import type { Appended, AppendFailure, Log } from '../../src/log/log.ts';
import type { LogRecord } from '../../src/log/record.ts';

/** A message with what is given and nothing else. */
export function message(topic: string, data: string | Uint8Array = '1', fields: Partial<Message> = {}): Message {
  return {
    topic,
    data: typeof data === 'string' ? Buffer.from(data) : data,
    contentType: undefined,
    event: undefined,
    id: undefined,
    producer: undefined,
    sequence: undefined,
    key: undefined,
    expect: undefined,
    headers: undefined,
    by: undefined,
    end: false,
    durability: undefined,
    ...fields,
  };
}

/** A record as plain values, to compare with; where there is one partition, its offset is said once. */
export function plain(record: LogRecord): Record<string, unknown> {
  const { durability: _, partitionOffset, ...rest } = { ...record, durability: undefined };
  if (partitionOffset !== record.offset) throw new Error(`${record.offset} is ${partitionOffset} in its partition`);
  return {
    ...rest,
    data: Buffer.from(record.data).toString('latin1'),
    headers: record.headers && { ...record.headers },
  };
}

export function offsetOf(result: Appended | AppendFailure | undefined): number {
  if (result === undefined || 'error' in result) throw new Error(`no offset: ${String(result?.error)}`);
  return result.offset;
}

/** All records in (after, to] that match, read slice by slice; throws when slices do not join. */
export async function readAllOf(
  log: Log,
  filters: readonly string[],
  after: number = log.floor,
  to: number = log.head.offset,
  maxBytes = 2000,
): Promise<LogRecord[]> {
  const set = filterSet(filters);
  const records: LogRecord[] = [];
  while (after < to) {
    const slice = await log.read(after, to, set, maxBytes);
    if (slice.after !== after) throw new Error(`asked from ${after}, got from ${slice.after}`);
    if (slice.next <= after) throw new Error(`no progress at ${after}`);
    for (const record of slice.records) {
      if (record.offset <= after || record.offset > slice.next) throw new Error(`offset ${record.offset} out of slice`);
      after = record.offset;
      records.push(record);
    }
    after = slice.next;
  }
  return records;
}

/** Turns of the event loop in which nothing else has to be let in. */
const eagerTurns = 200;

/** Waits, turn by turn of the event loop and then less eagerly, until `holds`; fails after `ms`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const deadline = performance.now() + ms;
  for (let turn = 0; !(await holds()); turn++) {
    if (performance.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise(resolve => (turn < eagerTurns ? setImmediate(resolve) : setTimeout(resolve, 2)));
  }
}
