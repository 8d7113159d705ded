/** The head of a request that is answered on the bare socket. */
export interface RequestHead {
  /** Path and query as they were sent. */
  readonly target: string;
  /** Value of a header by its lower-case name; undefined when absent. */
  header(name: string): string | undefined;
}

/** A strict head was found and ends before `end`; or more bytes are needed; or node:http is to look at it. */
export type HeadResult = { readonly head: BareHead; readonly end: number } | 'more' | 'other';

const requestLine = /^GET (\/v1\/(?:sse|ws)(?:\?[!-~]*)?) HTTP\/1\.1$/;
const headerLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const starts = [Buffer.from('GET /v1/sse'), Buffer.from('GET /v1/ws')];
/** Of these one suffices to leave the request to node:http: a body, or a wish to negotiate one. */
const bodyHeaders = new Set(['content-length', 'transfer-encoding', 'expect', 'te', 'trailer']);

export class BareHead implements RequestHead {
  readonly target: string;
  readonly #headers: ReadonlyMap<string, string>;

  constructor(target: string, headers: ReadonlyMap<string, string>) {
    this.target = target;
    this.#headers = headers;
  }

  header(name: string): string | undefined {
    return this.#headers.get(name);
  }
}

/** Whether these first bytes may still become a streaming GET. */
export function mayBeStream(bytes: Buffer): boolean {
  return starts.some(start => {
    const length = Math.min(start.length, bytes.length);
    return bytes.compare(start, 0, length, 0, length) === 0;
  });
}

/**
 * Reads the head of a bodiless, strictly valid streaming GET. Whatever is odd (a body, a bare LF, a repeated header, a
 * folded line, another version) is `other`: node:http judges it, so there is one lenient reader and not two.
 */
export function readHead(bytes: Buffer): HeadResult {
  if (!mayBeStream(bytes)) return 'other';
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return bytes.includes('\n\n') ? 'other' : 'more';
  const lines = bytes.toString('latin1', 0, end).split('\r\n');
  const request = requestLine.exec(lines[0]!);
  if (request === null) return 'other';
  const headers = new Map<string, string>();
  for (let i = 1; i < lines.length; i++) {
    const header = headerLine.exec(lines[i]!);
    if (header === null) return 'other';
    const name = header[1]!.toLowerCase();
    if (bodyHeaders.has(name) || headers.has(name)) return 'other';
    headers.set(name, trimBlanks(header[2]!));
  }
  if (!headers.has('host')) return 'other';
  return { head: new BareHead(request[1]!, headers), end: end + 4 };
}

// by hand: an expression that trims behind a lazy match takes quadratic time on a run of blanks
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** A request target without its query. */
export function pathOf(target: string): string {
  const question = target.indexOf('?');
  return question === -1 ? target : target.slice(0, question);
}
