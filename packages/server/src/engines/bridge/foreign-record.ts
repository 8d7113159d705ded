import { isUtf8 } from 'node:buffer';
import { jsonValueEnd, type MessageHeaders } from '@tailrace/protocol';
import type { RecordSource } from '../../log/record.ts';
import { levelOf, type Mapping, textOf } from './mapping.ts';

/** A record that another system produced. */
export interface ForeignRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[];
}

/** Where it is: what its id is made of. */
export interface ForeignPlace {
  readonly source: string;
  readonly partition: number;
  /** As the source counts. */
  readonly offset: number;
}

const noData = Buffer.alloc(0);
const keyMost = 512;
const headersMost = 4096;
const headerName = /^[a-z0-9][a-z0-9.-]{0,63}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const control = /[\u0000-\u001f\u007f]/;

/** The message that it is to subscribers. */
export function messageOf({ key, value, headers }: ForeignRecord, place: ForeignPlace, mapping: Mapping): RecordSource {
  return {
    topic: mapping.topicOf(key, place.partition),
    data: value ?? noData,
    contentType: value === null ? undefined : contentTypeOf(value),
    event: undefined,
    id: `${place.source}/${place.partition}/${place.offset}`,
    producer: undefined,
    sequence: undefined,
    key: key === null || key.length === 0 ? undefined : keyOf(key),
    headers: headers.length === 0 ? undefined : headersOf(headers),
    by: undefined,
    end: false,
  };
}

/** Undefined for JSON. */
function contentTypeOf(value: Buffer): string | undefined {
  if (!isUtf8(value)) return 'application/octet-stream';
  return isJson(value) ? undefined : 'text/plain';
}

function isJson(value: Buffer): boolean {
  if (value.length === 0) return false;
  if (jsonValueEnd(value, 0) === value.length) return true;
  // it does not follow everything that JSON may be
  if (!mayBeginJson(value[0]!)) return false;
  try {
    JSON.parse(value.toString());
    return true;
  } catch {
    return false;
  }
}

function mayBeginJson(byte: number): boolean {
  return byte <= 0x20 || (byte >= 0x30 && byte <= 0x39) || '{["-tfn'.includes(String.fromCharCode(byte));
}

function keyOf(key: Buffer): string {
  const text = key.length <= keyMost ? textOf(key) : undefined;
  return text === undefined || control.test(text) ? levelOf(key) : text;
}

/** Those that a message can have; of several with one name the last. */
function headersOf(all: ForeignRecord['headers']): MessageHeaders | undefined {
  const headers: Record<string, string> = {};
  let size = 0;
  for (const [rawName, rawValue] of all) {
    const name = rawName?.toString('latin1').toLowerCase().replaceAll('_', '-') ?? '';
    if (!headerName.test(name) || name.startsWith('tailrace-')) continue;
    const text = textOf(rawValue ?? noData);
    if (text === undefined || control.test(text)) continue;
    size += name.length + Buffer.byteLength(text);
    if (size > headersMost) break;
    headers[name] = text;
  }
  return Object.keys(headers).length === 0 ? undefined : headers;
}
