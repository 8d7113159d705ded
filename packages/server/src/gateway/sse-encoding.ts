import { isUtf8 } from 'node:buffer';
import type { ServerFrame } from '@tailrace/protocol';
import { type Encoding, envelopeMaxBytes, writeEnvelope } from '../hub/index.ts';
import type { LogRecord, Tokens } from '../log/index.ts';
import { Scratch } from './scratch.ts';

const LF = 10;
const CR = 13;

/**
 * Events of GET /v1/sse (§5): the envelope as data, or with `raw` the payload alone. The id of an event is the cursor
 * at its record, so that an EventSource resumes by itself; where cursors are long, only the last of a block has one.
 */
export function sseEncoding(raw: boolean, tokens: Tokens): Encoding {
  const scratch = new Scratch();
  const append = raw ? appendPayload : appendEnvelope;
  return {
    name: raw ? 'sse-raw' : 'sse',
    wrap: null,
    body(records, stored) {
      scratch.clear();
      const last = records[records.length - 1];
      for (const record of records) {
        if (stored && (tokens.short || record === last)) scratch.text(`id: ${tokens.of(record.offset, record.time)}\n`);
        append(scratch, record, stored);
      }
      return scratch.copy();
    },
    notice: tokens.short ? sseNotice : frame => sseNotice(frame, true),
  };
}

function appendEnvelope(scratch: Scratch, record: LogRecord, stored: boolean): void {
  if (record.event !== undefined) scratch.text(`event: ${record.event}\n`);
  scratch.text('data: ');
  scratch.reserve(envelopeMaxBytes(record));
  scratch.length = writeEnvelope(scratch.bytes, scratch.length, record, stored);
  scratch.text('\n\n');
}

// EventSource splits lines at CR too and decodes as UTF-8: what neither survives travels as base64, flagged
function appendPayload(scratch: Scratch, record: LogRecord): void {
  const { data } = record;
  if (data.includes(CR) || !isUtf8(data)) {
    scratch.text(
      `event: base64\ndata: ${Buffer.from(data.buffer, data.byteOffset, data.length).toString('base64')}\n\n`,
    );
    return;
  }
  if (record.event !== undefined) scratch.text(`event: ${record.event}\n`);
  let start = 0;
  for (;;) {
    const end = data.indexOf(LF, start);
    scratch.text('data: ');
    scratch.append(end === -1 ? data.subarray(start) : data.subarray(start, end));
    scratch.text('\n');
    if (end === -1) break;
    start = end + 1;
  }
  scratch.text('\n');
}

/** A frame of §7 as SSE: without `sub`, its cursor as `id:` where the cursor moved; `live` moves it where records seldom do. */
export function sseNotice(frame: ServerFrame, liveMoves = false): Buffer {
  if (frame.type === 'cursor') return Buffer.from(`:\nid: ${frame.cursor}\n\n`);
  if (frame.type === 'heartbeat') return heartbeat;
  const { sub, ...rest } = frame as ServerFrame & { sub?: string };
  const moves = 'cursor' in rest && (liveMoves || rest.type !== 'live');
  return Buffer.from(`event: tailrace\n${moves ? `id: ${rest.cursor}\n` : ''}data: ${JSON.stringify(rest)}\n\n`);
}

const heartbeat = Buffer.from(':\n\n');
