import { TailraceError } from '@tailrace/protocol';
import { isPacked, type PackedRecord } from '../packed-record.ts';

/** What the stream holds beside records: a topic was deleted. */
export interface DeletionNote {
  readonly topic: string;
  readonly upTo: number;
  readonly table: boolean;
}

export interface StreamEntry {
  /** Id in the stream, `<offset>-<n>`: n is 0 for a record. */
  readonly id: string;
  readonly offset: number;
  readonly record: PackedRecord | undefined;
  /** Set for the first record of an epoch. */
  readonly epoch: number | undefined;
  readonly note: DeletionNote | undefined;
  /** Set for what a node wrote to find it again. */
  readonly probe: string | undefined;
}

/** Throws `log_damaged` for what Tailrace did not write. */
export function readEntry(entry: unknown): StreamEntry {
  const [rawId, fields] = entry as [Buffer, Buffer[]];
  const id = rawId.toString('latin1');
  const offset = Number(id.slice(0, id.indexOf('-')));
  const [name, value, second, bytes] = fields;
  if (name?.toString() === 'm' && second?.toString() === 'r' && bytes !== undefined && isPacked(bytes))
    return {
      id,
      offset,
      record: { offset, time: Number(value), bytes },
      epoch: fields[4]?.toString() === 'e' ? Number(fields[5]) : undefined,
      note: undefined,
      probe: undefined,
    };
  if (name?.toString() === 'p' && value !== undefined)
    return { id, offset, record: undefined, epoch: undefined, note: undefined, probe: value.toString() };
  if (name?.toString() === 'x' && fields.length === 6)
    return {
      id,
      offset,
      record: undefined,
      epoch: undefined,
      note: { topic: fields[1]!.toString(), upTo: Number(fields[3]), table: fields[5]!.toString() === '1' },
      probe: undefined,
    };
  throw new TailraceError(
    'log_damaged',
    `entry ${id} of the stream in Redis is damaged or was not written by Tailrace: nothing else may write to its keys`,
  );
}
