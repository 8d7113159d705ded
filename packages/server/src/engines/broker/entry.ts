import { crc32 } from 'node:zlib';
import type { RecordSource } from '../../log/record.ts';
import type { Entry } from '../broker-partition.ts';
import { isPacked, packRecord } from '../packed-record.ts';

/**
 * What a node writes to the partition: a record, and before it who wrote it and what it knew when it did. From that alone
 * every reader decides whether the entry counts (`Verdicts`).
 *
 *   0         1       2      10       16     22      28    32
 *  ┌─────────┬───────┬──────┬────────┬──────┬───────┬─────┬──────────────┐
 *  │ version │ flags │ node │ number │ seen │ epoch │ crc │ packed record│
 *  └─────────┴───────┴──────┴────────┴──────┴───────┴─────┴──────────────┘
 *   u8        u8      latin1 u48      u48    u48     u32 of all before it
 */
export interface EntryHead {
  /** Unlike that of any other start of any server. */
  readonly node: string;
  /** Counts what the node sent. */
  readonly number: number;
  /** The node had read up to this offset when it judged the message. */
  readonly seen: number;
  /** The epoch of that offset. */
  readonly epoch: number;
  /** Of a request to the broker. */
  readonly isFirst: boolean;
  /** Belongs to the same append as the entry before it: when that cannot be taken, nor can this. */
  readonly continues: boolean;
  /** The publish expected something of the record's key. */
  readonly isConditional: boolean;
}

/** An entry as it comes back. */
export interface BrokerEntry extends EntryHead {
  readonly offset: number;
  /** ms since 1970 UTC, as the node says. */
  readonly time: number;
  /** The packed record. */
  readonly bytes: Buffer;
}

export const nodeBytes = 8;
export const headBytes = 32;
const version = 1;
const flags = { first: 1, continues: 2, conditional: 4 } as const;
const crcAt = 28;

export function packEntry(head: EntryHead, record: RecordSource): Buffer {
  const bytes = packRecord(record, headBytes);
  bytes[0] = version;
  bytes[1] =
    (head.isFirst ? flags.first : 0) |
    (head.continues ? flags.continues : 0) |
    (head.isConditional ? flags.conditional : 0);
  bytes.write(head.node, 2, nodeBytes, 'latin1');
  bytes.writeUIntLE(head.number, 10, 6);
  bytes.writeUIntLE(head.seen, 16, 6);
  bytes.writeUIntLE(head.epoch, 22, 6);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, crcAt)), crcAt);
  return bytes;
}

/** Undefined for what Tailrace did not write, or what is damaged. Hot. */
export function readEntry({ offset, time, bytes }: Entry): BrokerEntry | undefined {
  if (bytes.length < headBytes || bytes[0] !== version) return undefined;
  if (crc32(bytes.subarray(0, crcAt)) !== bytes.readUInt32LE(crcAt)) return undefined;
  const packed = bytes.subarray(headBytes);
  if (!isPacked(packed)) return undefined;
  const set = bytes[1]!;
  return {
    offset,
    time,
    node: bytes.toString('latin1', 2, 2 + nodeBytes),
    number: bytes.readUIntLE(10, 6),
    seen: bytes.readUIntLE(16, 6),
    epoch: bytes.readUIntLE(22, 6),
    isFirst: (set & flags.first) !== 0,
    continues: (set & flags.continues) !== 0,
    isConditional: (set & flags.conditional) !== 0,
    bytes: packed,
  };
}
