/** How a payload travels inside a JSON envelope: as the value itself, as a string, or as base64 (§1). */
export type PayloadKind = 'json' | 'text' | 'binary';

/** Kind of a content type; undefined means JSON, the default that envelopes leave out. */
export function payloadKind(contentType: string | undefined): PayloadKind {
  if (contentType === undefined) return 'json';
  const semicolon = contentType.indexOf(';');
  const essence = (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  if (essence === 'application/json' || essence.endsWith('+json')) return 'json';
  return essence.startsWith('text/') ? 'text' : 'binary';
}

/** Leaves out what envelopes leave out: plain JSON becomes undefined. */
export function storedContentType(contentType: string | undefined): string | undefined {
  return contentType !== undefined && /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType)
    ? undefined
    : contentType;
}
