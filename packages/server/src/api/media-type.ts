import type { IncomingMessage } from 'node:http';
import { TailraceError } from '@tailrace/protocol';

/** What a `Content-Type` says about a body: `unsaid` is none, or what tools send when nobody chose. */
export type BodyKind = 'json' | 'lines' | 'unsaid' | 'multipart' | 'other';

const lineTypes = new Set(['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonl']);

export function bodyKind(contentType: string | undefined): BodyKind {
  if (contentType === undefined || contentType === 'application/x-www-form-urlencoded') return 'unsaid';
  if (contentType === 'application/json') return 'json';
  const semicolon = contentType.indexOf(';');
  const essence = (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  if (essence === '' || essence === 'application/x-www-form-urlencoded') return 'unsaid';
  if (lineTypes.has(essence)) return 'lines';
  if (essence.startsWith('multipart/')) return 'multipart';
  return essence === 'application/json' || essence.endsWith('+json') ? 'json' : 'other';
}

/** Throws for a compressed body: it would be stored as it is, and no subscriber could read it. */
export function checkContentEncoding(req: IncomingMessage): void {
  const encoding = req.headers['content-encoding'];
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  throw new TailraceError(
    'media_type_unsupported',
    `bodies with Content-Encoding ${JSON.stringify(encoding.slice(0, 40))} are not accepted; send it as it is`,
  );
}
