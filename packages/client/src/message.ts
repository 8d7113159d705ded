import type { Envelope } from '@tailrace/protocol';

/** A record as the application gets it (protocol.md §1). */
export interface Message<T = unknown> extends Omit<Envelope, 'data' | 'encoding'> {
  /**
   * The JSON value; a string for `text/*`; bytes (`Uint8Array`) for other types. Absent when the record has none: with a
   * `key` it deletes that key.
   */
  readonly data: T;
}

export function messageOf<T>(envelope: Envelope): Message<T> {
  const { encoding, ...rest } = envelope;
  if (encoding === undefined) return envelope as Message<T>;
  return { ...rest, data: bytesOf(envelope.data as string) } as Message<T>;
}

/** What a publish carries beside its topic (protocol.md §1). */
export interface PublishOptions {
  /** Media type of the payload: by default JSON, and `application/octet-stream` for bytes. */
  readonly contentType?: string;
  readonly event?: string;
  /** Recognises the message should it be published twice, by whom it may be; by default the client counts its own. */
  readonly id?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly durability?: 'fsync' | 'written' | 'none';
  /** Taken only if the newest record of `key` is this one, or there is none. */
  readonly expect?: { readonly offset: number } | { readonly absent: true };
  /** Ends the topic for good. */
  readonly end?: boolean;
}

/** The members of a message as it is sent, without what recognises it. */
export function wireMessage(topic: string, data: unknown, options: PublishOptions): Record<string, unknown> {
  if (data instanceof Uint8Array)
    return {
      topic,
      contentType: 'application/octet-stream',
      ...options,
      encoding: 'base64',
      data: base64Of(data),
    };
  return data === undefined ? { topic, ...options } : { topic, ...options, data };
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), character => character.charCodeAt(0));
}

function base64Of(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
