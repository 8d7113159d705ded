// HTTP/1.1 responses on one connection, in order: status and end of each, no more.

export interface Response {
  status: number;
  /** Milliseconds that the server asks to wait, 0 when it does not. */
  retryAfter: number;
}

const headEnd = '\r\n\r\n';

export class ResponseScanner {
  #text = '';

  /** Calls `onResponse` for each response that ends in these bytes. Hot: once a read of a publisher's connection. */
  feed(bytes: string, onResponse: (response: Response) => void): void {
    const text = this.#text === '' ? bytes : this.#text + bytes;
    let at = 0;
    for (;;) {
      const head = text.indexOf(headEnd, at);
      if (head === -1) break;
      const bodyAt = head + headEnd.length;
      const end = endOfBody(text, at, bodyAt);
      if (end === -1 || end > text.length) break;
      const status = Number(text.slice(at + 9, at + 12));
      onResponse({ status, retryAfter: status < 400 ? 0 : retryAfterOf(text.slice(at, bodyAt)) });
      at = end;
    }
    this.#text = text.slice(at);
  }
}

function endOfBody(text: string, at: number, bodyAt: number): number {
  const head = text.slice(at, bodyAt);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return bodyAt + Number(length);
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return endOfChunks(text, bodyAt);
  if (/^HTTP\/1\.1 [23]04/.test(head)) return bodyAt;
  throw new Error(`a response without length: ${head}`);
}

function endOfChunks(text: string, bodyAt: number): number {
  for (let at = bodyAt; ; ) {
    const line = text.indexOf('\r\n', at);
    if (line === -1) return -1;
    const size = Number.parseInt(text.slice(at, line), 16);
    at = line + 2 + size + 2;
    if (size === 0) return at;
    if (at > text.length) return -1;
  }
}

function retryAfterOf(head: string): number {
  return Number(/\r\nretry-after: *(\d+)/i.exec(head)?.[1] ?? 0) * 1000;
}
