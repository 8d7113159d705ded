import { crc32 } from 'node:zlib';
import type { EpochStart } from '../../../log/epoch-list.ts';
import type { LedgerCall, LedgerRequest } from '../../group-ledger.ts';

/**
 * What a node writes to the ledger: what it asks for, and what it knows of the log when it does. The answer is what the fold
 * of all entries (`LedgerFold`) says at this one.
 *
 *   0         1     5
 *  ┌─────────┬─────┬──────┐
 *  │ version │ crc │ JSON │
 *  └─────────┴─────┴──────┘
 *   u8        u32 of what follows
 */
export interface Command {
  /** Unlike that of any other start of any server. */
  readonly node: string;
  /** Counts what the node asks, from 1: one that is not higher than the one before is a repetition, and void. */
  readonly number: number;
  /** The time that counts instead of the broker's, where deadlines run by a clock of the nodes. */
  readonly at?: number | undefined;
  readonly log: LogStand;
  readonly asked: Asked;
}

/** The log as a node knows it. */
export interface LogStand {
  readonly id: string;
  readonly floor: number;
  /** Left out when the ledger has heard of the newest already. */
  readonly epochs: readonly EpochStart[] | undefined;
}

export type Asked =
  | {
      readonly kind: 'open';
      readonly group: string;
      readonly filters: readonly string[];
      /** A group that is made begins behind this position. */
      readonly after: number;
      readonly epoch: number;
    }
  | { readonly kind: 'remove' | 'status'; readonly group: string }
  | { readonly kind: 'names' }
  | { readonly kind: 'call'; readonly group: string; readonly pendingMost: number; readonly call: LedgerCall }
  | CheckpointPart;

/** A part of all that the fold had made of the entries up to `upTo`. */
export interface CheckpointPart {
  readonly kind: 'checkpoint';
  /** The position in the ledger. */
  readonly upTo: number;
  readonly epoch: number;
  readonly part: number;
  readonly parts: number;
  readonly bytes: string;
}

const version = 1;
const headBytes = 5;

export function packCommand(command: Command): Buffer {
  const { asked } = command;
  const plain = asked.kind === 'call' ? { ...command, asked: { ...asked, call: plainCall(asked.call) } } : command;
  const json = Buffer.from(JSON.stringify(plain));
  const bytes = Buffer.allocUnsafe(headBytes + json.length);
  bytes[0] = version;
  bytes.writeUInt32LE(crc32(json), 1);
  json.copy(bytes, headBytes);
  return bytes;
}

/** Undefined for what Tailrace did not write, or what is damaged: it is void for all. Throws for what is of a newer Tailrace. */
export function readCommand(bytes: Buffer): Command | undefined {
  const json = bytes.subarray(headBytes);
  if (bytes.length < headBytes || crc32(json) !== bytes.readUInt32LE(1)) return undefined;
  if (bytes[0] !== version)
    throw new Error(`it was written by a newer Tailrace (version ${bytes[0]}): update this server`);
  return JSON.parse(json.toString()) as Command;
}

/** Without the records that members show with what they hold. */
function plainCall({ head, offer, requests }: LedgerCall): LedgerCall {
  const { epoch, offset } = head;
  return { head: { epoch, offset }, offer, requests: requests.map(plainRequest) };
}

function plainRequest(request: LedgerRequest): LedgerRequest {
  if (request.kind === 'claim') return request;
  return { ...request, receipts: request.receipts.map(({ epoch, offset, count }) => ({ epoch, offset, count })) };
}
