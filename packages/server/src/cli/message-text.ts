import { randomBytes } from 'node:crypto';
import { payloadKind } from '@tailrace/protocol';
import { CommandError } from './command.ts';

/** Fields that every message of one `pub` shares. */
export interface MessageFields {
  readonly topic: string;
  readonly contentType: string | undefined;
  readonly key: string | undefined;
  readonly event: string | undefined;
  readonly durability: string | undefined;
  readonly expect: { readonly offset: number } | { readonly absent: true } | undefined;
}

/** One message as a line of NDJSON (protocol.md §4). JSON data goes verbatim. */
export function messageText(fields: MessageFields, id: string, data: string): string {
  const { topic, key, event, durability, expect } = fields;
  const head = JSON.stringify({ topic, id, key, expect, event, durability, contentType: fields.contentType });
  // a key without data is a deletion
  if (data === '' && payloadKind(fields.contentType) === 'json') return head;
  return `${head.slice(0, -1)},${dataMember(fields.contentType, data)}}`;
}

/** A line that is a whole message gets an id unless it has its own means against doubles. */
export function withId(line: string, id: string): string {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch (cause) {
    throw new CommandError(`is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message))
    throw new CommandError('is not a message object such as {"topic":"a/b","data":1}');
  const flat = line.trim();
  if ('id' in message || 'producer' in message) return flat;
  const rest = flat.slice(1).trimStart();
  return `{"id":${JSON.stringify(id)}${rest === '}' ? '' : ','}${rest}`;
}

/** `<random>-1`, `<random>-2`, …: ids by which the server knows what it has already. */
export function idSequence(): () => string {
  const run = randomBytes(9).toString('base64url');
  let count = 0;
  return () => `${run}-${++count}`;
}

function dataMember(contentType: string | undefined, data: string): string {
  const kind = payloadKind(contentType);
  if (kind === 'text') return `"data":${JSON.stringify(data)}`;
  if (kind === 'binary') return `"data":"${Buffer.from(data).toString('base64')}","encoding":"base64"`;
  try {
    JSON.parse(data);
  } catch (cause) {
    throw new CommandError(`is not JSON: ${(cause as Error).message}`, { cause });
  }
  // a line of NDJSON has no line ends inside; in valid JSON they are only white space
  return `"data":${data.replaceAll(/[\r\n]/g, ' ')}`;
}
