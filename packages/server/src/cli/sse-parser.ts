import { LineSplitter } from './lines.ts';

/** What came since the last chunk: an event, or a cursor that moved without one. */
export interface SseBlock {
  /** Name of the event; `message` when the stream gave none. */
  readonly event: string;
  /** Undefined for a block without data: it moves the cursor and dispatches nothing. */
  readonly data: string | undefined;
  /** Last id of the stream so far, undefined before the first. */
  readonly id: string | undefined;
}

/** A block larger than this is no message of ours: the largest is 32 MiB before base64. */
const longestBlock = 64 * 1024 * 1024;

/** Reads text/event-stream as the HTML standard says, except that a lone CR, which Tailrace never sends, ends no line. */
export class SseParser {
  /** ms that the server asks to wait before a reconnect. */
  retry: number | undefined;
  readonly #lines = new LineSplitter();
  #event = '';
  #data: string[] = [];
  #id: string | undefined;
  #moved = false;
  #size = 0;

  /** Blocks that `chunk` completed. */
  push(chunk: string): SseBlock[] {
    const blocks: SseBlock[] = [];
    for (const line of this.#lines.push(chunk)) {
      if (line === '') this.#dispatch(blocks);
      else if (!line.startsWith(':')) this.#field(line);
    }
    return blocks;
  }

  #dispatch(blocks: SseBlock[]): void {
    if (this.#data.length > 0 || this.#moved)
      blocks.push({
        event: this.#event || 'message',
        data: this.#data.length > 0 ? this.#data.join('\n') : undefined,
        id: this.#id,
      });
    this.#event = '';
    this.#data = [];
    this.#moved = false;
    this.#size = 0;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') {
      this.#data.push(value);
      this.#size += value.length;
      if (this.#size > longestBlock) throw new Error(`an event is larger than ${longestBlock} characters`);
    } else if (name === 'event') this.#event = value;
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.retry = Number(value);
    else if (name === 'id' && !value.includes('\0')) {
      this.#id = value;
      this.#moved = true;
    }
  }
}
