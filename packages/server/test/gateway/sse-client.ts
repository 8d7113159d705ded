import { until } from './harness.ts';
import { getRequest, RawClient } from './raw-client.ts';

/** One block of an event stream, as EventSource reads it. */
export interface SseBlock {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string | undefined;
  readonly retry: number | undefined;
  readonly comment: boolean;
}

/** A client of GET /v1/sse on a socket of its own. */
export class SseClient {
  readonly raw: RawClient;
  #scanned = 0;
  readonly #blocks: SseBlock[] = [];

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  static async open(port: number, query: string, headers: Readonly<Record<string, string>> = {}): Promise<SseClient> {
    const client = new SseClient(await RawClient.open(port));
    client.raw.send(getRequest(`/v1/sse?${query}`, headers));
    await until(
      () => client.head !== undefined || client.raw.closed,
      () => `a head for ${query}`,
    );
    return client;
  }

  get head(): string | undefined {
    const end = this.raw.bytes.indexOf('\r\n\r\n');
    return end === -1 ? undefined : this.raw.bytes.toString('latin1', 0, end);
  }

  get status(): number {
    return Number(this.head?.split(' ')[1]);
  }

  header(name: string): string | undefined {
    const line = this.head?.split('\r\n').find(text => text.toLowerCase().startsWith(`${name.toLowerCase()}:`));
    return line?.slice(name.length + 1).trim();
  }

  get body(): string {
    return this.raw.bytes.toString('utf8', (this.head?.length ?? 0) + 4);
  }

  /** Whole blocks so far. Lines end at CR, LF or CRLF, as the standard says: a stray CR in data shows. */
  get blocks(): readonly SseBlock[] {
    const { bytes } = this.raw;
    const start = Math.max(this.#scanned, (this.head?.length ?? 0) + 4);
    const end = bytes.lastIndexOf('\n\n');
    if (end >= start) {
      for (const text of bytes.toString('utf8', start, end).split('\n\n')) this.#blocks.push(parseBlock(text));
      this.#scanned = end + 2;
    }
    return this.#blocks;
  }

  /** Blocks that carry data and are not the server's own. */
  get messages(): readonly SseBlock[] {
    return this.blocks.filter(block => block.event !== 'tailrace' && block.data !== undefined);
  }

  /** The `data` of the server's own blocks with this `type`. */
  notices(type: string): Record<string, unknown>[] {
    return this.blocks
      .filter(block => block.event === 'tailrace')
      .map(block => ({ ...(JSON.parse(block.data!) as Record<string, unknown>), id: block.id }))
      .filter(notice => (notice as { type?: unknown }).type === type);
  }

  /** The newest `id:`: what EventSource sends as Last-Event-ID. */
  get lastId(): string | undefined {
    return this.blocks.findLast(block => block.id !== undefined)?.id;
  }

  get offsets(): number[] {
    return this.messages.flatMap(block => {
      const { offset } = JSON.parse(block.data!) as { offset?: number };
      return offset === undefined ? [] : [offset];
    });
  }

  async count(messages: number, ms?: number): Promise<readonly SseBlock[]> {
    await until(
      () => this.messages.length >= messages,
      () => `${messages} messages, there are ${this.messages.length}: ${this.body.slice(-1000)}`,
      ms,
    );
    return this.messages;
  }

  async notice(type: string, ms?: number): Promise<Record<string, unknown>> {
    await until(
      () => this.notices(type).length > 0,
      () => `a ${type} in ${this.body.slice(-1000)}`,
      ms,
    );
    return this.notices(type)[0]!;
  }

  close(): void {
    this.raw.destroy();
  }
}

function parseBlock(text: string): SseBlock {
  let event = 'message';
  let id: string | undefined;
  let retry: number | undefined;
  let comment = false;
  const data: string[] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === '') comment ||= colon === 0;
    else if (name === 'event') event = value;
    else if (name === 'id') id = value;
    else if (name === 'retry') retry = Number(value);
    else if (name === 'data') data.push(value);
    else throw new Error(`no SSE field is called ${JSON.stringify(name)}: ${JSON.stringify(text)}`);
  }
  return { event, id, retry, comment, data: data.length === 0 ? undefined : data.join('\n') };
}
