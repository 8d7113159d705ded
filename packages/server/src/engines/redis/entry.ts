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
  readonly id: Buffer;
  readonly offset: number;
  readonly record: PackedRecord | undefined;
  /** Set for the first record of an epoch. */
  readonly epoch: number | undefined;
  readonly note: DeletionNote | undefined;
  /** Set for what a node wrote to find it again. */
  readonly probe: string | undefined;
}

/** Throws `log_damaged` for what Tailrace did not write. Hot: once a record, so that no text is made of what is read. */
export function readEntry(entry: unknown): StreamEntry {
  const [id, fields] = entry as [Buffer, Buffer[]];
  const offset = readNumber(id);
  const [name, value, second, bytes] = fields;
  if (isLetter(name, 'm') && isLetter(second, 'r') && bytes !== undefined && isPacked(bytes))
    return {
      id,
      offset,
      record: { offset, time: readNumber(value!), bytes },
      epoch: isLetter(fields[4], 'e') ? readNumber(fields[5]!) : undefined,
      note: undefined,
      probe: undefined,
    };
  if (isLetter(name, 'p') && value !== undefined)
    return { id, offset, record: undefined, epoch: undefined, note: undefined, probe: value.toString() };
  if (isLetter(name, 'x') && fields.length === 6)
    return {
      id,
      offset,
      record: undefined,
      epoch: undefined,
      note: { topic: fields[1]!.toString(), upTo: readNumber(fields[3]!), table: fields[5]!.toString() === '1' },
      probe: undefined,
    };
  throw new TailraceError(
    'log_damaged',
    `entry ${id.toString('latin1')} of the stream in Redis is damaged or was not written by Tailrace: nothing else may write to its keys`,
  );
}

function isLetter(field: Buffer | undefined, letter: string): boolean {
  return field !== undefined && isLetterAt(field, 0, field.length, letter);
}

/** Whether the field from `start` to `end` is this letter alone. */
export function isLetterAt(bytes: Buffer, start: number, end: number, letter: string): boolean {
  return end - start === 1 && bytes[start] === letter.charCodeAt(0);
}

function readNumber(field: Buffer): number {
  return readDigits(field, 0, field.length);
}

const zero = 48;

/** The number of the digits that come first between `start` and `end`. */
export function readDigits(bytes: Buffer, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - zero;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}
