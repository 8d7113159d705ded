import type { MessageHeaders } from './message.ts';

/** What a subscriber receives for a record, as JSON (§1). Durations and times are integer ms. */
export interface Envelope {
  readonly topic: string;
  /** Absent for class `none`, which is not in the log. */
  readonly offset?: number;
  readonly time: number;
  readonly id?: string;
  readonly key?: string;
  readonly by?: string;
  readonly event?: string;
  readonly headers?: MessageHeaders;
  readonly contentType?: string;
  /** The JSON value, or a string for `text/*`, or base64 with `encoding`. Absent when the record has no bytes. */
  readonly data?: unknown;
  readonly encoding?: 'base64';
  readonly end?: boolean;
}

/** The parts of a record that an envelope shows beside its payload. */
export interface EnvelopeSource {
  readonly topic: string;
  /** Offset in its partition, as clients are told; 0 for class `none`. */
  readonly partitionOffset: number;
  readonly time: number;
  readonly id: string | undefined;
  readonly key: string | undefined;
  readonly by: string | undefined;
  readonly event: string | undefined;
  readonly headers: MessageHeaders | undefined;
  readonly contentType: string | undefined;
  readonly end: boolean;
}

/**
 * The envelope's JSON up to and without the payload members and the closing brace: `{"topic":"a","offset":1,"time":2`.
 * The caller appends `,"data":…` from bytes, so that payloads are never parsed and printed again.
 */
export function envelopeHead(source: EnvelopeSource): string {
  let json = `{"topic":${JSON.stringify(source.topic)}`;
  if (source.partitionOffset !== 0) json += `,"offset":${source.partitionOffset}`;
  json += `,"time":${source.time}`;
  if (source.id !== undefined) json += `,"id":${JSON.stringify(source.id)}`;
  if (source.key !== undefined) json += `,"key":${JSON.stringify(source.key)}`;
  if (source.by !== undefined) json += `,"by":${JSON.stringify(source.by)}`;
  if (source.event !== undefined) json += `,"event":${JSON.stringify(source.event)}`;
  if (source.headers !== undefined) json += `,"headers":${JSON.stringify(source.headers)}`;
  if (source.contentType !== undefined) json += `,"contentType":${JSON.stringify(source.contentType)}`;
  if (source.end) json += ',"end":true';
  return json;
}
