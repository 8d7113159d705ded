import type { OriginPolicy } from '../admission/index.ts';

/** The head of a publish so plain that it needs no HTTP parser. */
export interface PublishHead {
  readonly topic: string;
  /** Bytes of the body. */
  readonly length: number;
}

/** A plain head that ends before `end`; or more bytes are needed; or node:http is to look at it. */
export type PublishHeadResult = { readonly head: PublishHead; readonly end: number } | 'more' | 'other';

const start = Buffer.from('POST /v1/topics/');
// no escapes and no query: the topic stands there as it is
const requestLine = /^POST \/v1\/topics\/([A-Za-z0-9_.~:@/-]+) HTTP\/1\.1$/;
const headerLine = /^([A-Za-z-]+): ?([ -~]*)$/;
/** Headers that change nothing for a publish whose type is JSON; any other leaves the request to node:http. */
const harmless = new Set(['user-agent', 'accept', 'accept-encoding', 'accept-language', 'cache-control', 'pragma']);
const contentTypes = new Set(['application/json', 'application/json; charset=utf-8', 'application/json;charset=utf-8']);

/** Heads read lately: a publisher sends the same one again and again. */
const keptMax = 1024;
const keptBytes = 512;

/** Whether these first bytes may become a plain publish. */
export function mayBePublish(bytes: Buffer): boolean {
  const length = Math.min(start.length, bytes.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

/**
 * Reads heads of `POST /v1/topics/{topic}` with a JSON body of known length. Strict on purpose: two lengths, a length
 * beside chunks, a bare LF, an Origin, anything not expected here is `other`, and node:http is the one lenient reader.
 */
export class PublishHeads {
  readonly #origins: OriginPolicy;
  readonly #headMax: number;
  readonly #bodyMax: number;
  readonly #kept = new Map<string, PublishHead>();

  constructor(origins: OriginPolicy, headMax: number, bodyMax: number) {
    this.#origins = origins;
    this.#headMax = headMax;
    this.#bodyMax = bodyMax;
  }

  /** Reads the head that begins at `at`. Hot. */
  read(bytes: Buffer, at: number): PublishHeadResult {
    const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
    if (end === -1) {
      if (bytes.length - at > this.#headMax || !mayBePublish(bytes.subarray(at, at + start.length))) return 'other';
      // its client may think that the head is whole: what it lacks would never come
      return hasBareLineFeed(bytes, at) ? 'other' : 'more';
    }
    if (end - at > this.#headMax) return 'other';
    const text = bytes.toString('latin1', at, end);
    let head = this.#kept.get(text);
    if (head === undefined) {
      head = this.#parse(text);
      if (head === undefined) return 'other';
      if (this.#kept.size >= keptMax) this.#kept.clear();
      if (text.length <= keptBytes) this.#kept.set(text, head);
    }
    return { head, end: end + 4 };
  }

  #parse(text: string): PublishHead | undefined {
    const lines = text.split('\r\n');
    const topic = requestLine.exec(lines[0]!)?.[1];
    if (topic === undefined) return undefined;
    const seen = new Map<string, string>();
    for (let i = 1; i < lines.length; i++) {
      const header = headerLine.exec(lines[i]!);
      if (header === null) return undefined;
      const name = header[1]!.toLowerCase();
      if (seen.has(name)) return undefined;
      seen.set(name, header[2]!);
    }
    let length: number | undefined;
    for (const [name, value] of seen) {
      if (name === 'content-length') length = /^\d{1,9}$/.test(value) ? Number(value) : undefined;
      else if (name === 'content-type') {
        if (!contentTypes.has(value.toLowerCase())) return undefined;
      } else if (name === 'connection') {
        if (value.toLowerCase() !== 'keep-alive') return undefined;
      } else if (name !== 'host' && !harmless.has(name)) return undefined;
    }
    if (length === undefined || length > this.#bodyMax || !seen.has('content-type')) return undefined;
    const verdict = this.#origins.check({ host: seen.get('host'), origin: undefined, secFetchSite: undefined });
    return 'error' in verdict ? undefined : { topic, length };
  }
}

function hasBareLineFeed(bytes: Buffer, from: number): boolean {
  for (let at = bytes.indexOf(0x0a, from); at !== -1; at = bytes.indexOf(0x0a, at + 1))
    if (bytes[at - 1] !== 0x0d) return true;
  return false;
}
