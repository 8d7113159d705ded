import { envelopeHead, payloadKind } from '@tailrace/protocol';
import type { LogRecord } from '../log/index.ts';

/**
 * Envelopes (protocol.md §1) written straight into a caller's buffer, so that a block of many records is one buffer and
 * no record leaves a string or a small buffer behind. Payload bytes are never parsed and printed again.
 */

const LF = 10;
const CR = 13;
const SPACE = 32;
const CLOSE = 125;
/** Below this a loop in JavaScript beats the call into native code. */
const nativeFrom = 512;

/** `{"topic":"a","offset":` of topics seen lately; the values are one-byte text, so they take the cheapest write. */
const topicHeads = new Map<string, string>();
const topicHeadsMax = 4096;

const ascii = /^[ -~]*$/;

/** No envelope of this record is longer. Six bytes a character is what `\u0000` takes. */
export function envelopeMaxBytes(record: LogRecord): number {
  let characters = record.topic.length;
  if (record.id !== undefined) characters += record.id.length;
  if (record.key !== undefined) characters += record.key.length;
  if (record.by !== undefined) characters += record.by.length;
  if (record.event !== undefined) characters += record.event.length;
  if (record.contentType !== undefined) characters += record.contentType.length;
  if (record.headers !== undefined)
    for (const name in record.headers) characters += name.length + record.headers[name]!.length + 6;
  const { length } = record.data;
  // JSON as it is; text escaped; base64 is shorter than either bound
  const data = record.contentType === undefined ? length : 6 * length;
  return 256 + 6 * characters + data;
}

/**
 * Writes the envelope of `record` at `at` and returns where it ends. `stored` is false for class `none`, which has no
 * offset. `target` must have `envelopeMaxBytes(record)` bytes of room. Hot.
 */
export function writeEnvelope(target: Buffer, at: number, record: LogRecord, stored: boolean): number {
  if (!stored || !isPlain(record)) return writeFull(target, at, record, stored);
  let head = topicHeads.get(record.topic);
  if (head === undefined) {
    if (!ascii.test(record.topic)) return writeFull(target, at, record, stored);
    head = `{"topic":${JSON.stringify(record.topic)},"offset":`;
    if (topicHeads.size >= topicHeadsMax) topicHeads.clear();
    topicHeads.set(record.topic, head);
  }
  const end = at + target.write(`${head}${record.partitionOffset},"time":${record.time},"data":`, at, 'latin1');
  return close(target, copyJson(target, end, record.data));
}

/** The envelope as text, for where one at a time is enough. */
export function envelopeText(record: LogRecord, stored = true): string {
  const target = Buffer.allocUnsafe(envelopeMaxBytes(record));
  return target.toString('utf8', 0, writeEnvelope(target, 0, record, stored));
}

function isPlain(record: LogRecord): boolean {
  return (
    record.contentType === undefined &&
    record.id === undefined &&
    record.key === undefined &&
    record.event === undefined &&
    record.headers === undefined &&
    record.by === undefined &&
    !record.end &&
    record.data.length > 0
  );
}

function writeFull(target: Buffer, at: number, record: LogRecord, stored: boolean): number {
  const head = envelopeHead(stored ? record : { ...record, partitionOffset: 0 });
  let end = at + target.write(head, at);
  const { data } = record;
  const kind = payloadKind(record.contentType);
  // a deletion and an end may have no payload; as JSON no bytes would not even be a value
  if (data.length === 0 && (record.key !== undefined || record.end || kind === 'json')) return close(target, end);
  if (kind === 'json') return close(target, copyJson(target, end + target.write(',"data":', end, 'latin1'), data));
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  if (kind === 'text') {
    end += target.write(',"data":', end, 'latin1');
    end += target.write(JSON.stringify(bytes.toString()), end);
  } else {
    end += target.write(',"encoding":"base64","data":"', end, 'latin1');
    end += target.write(bytes.toString('base64'), end, 'latin1');
    target[end++] = 0x22;
  }
  return close(target, end);
}

/** In valid JSON a line break is only whitespace; as spaces they cannot end a line of SSE or NDJSON. Hot. */
function copyJson(target: Buffer, at: number, data: Uint8Array): number {
  const { length } = data;
  target.set(data, at);
  if (length < nativeFrom) {
    for (let i = 0; i < length; i++) {
      const c = data[i]!;
      if (c === LF || c === CR) target[at + i] = SPACE;
    }
  } else {
    const copy = target.subarray(at, at + length);
    for (let i = copy.indexOf(LF); i !== -1; i = copy.indexOf(LF, i + 1)) copy[i] = SPACE;
    for (let i = copy.indexOf(CR); i !== -1; i = copy.indexOf(CR, i + 1)) copy[i] = SPACE;
  }
  return at + length;
}

function close(target: Buffer, at: number): number {
  target[at] = CLOSE;
  return at + 1;
}
