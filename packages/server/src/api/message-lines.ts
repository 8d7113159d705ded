import { isUtf8 } from 'node:buffer';
import { type InputLimits, type PlainLines, parseMessage, TailraceError } from '@tailrace/protocol';
import { LineBuffer } from './line-buffer.ts';
import type { WaitingMessages } from './waiting-messages.ts';

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;

/** Reads the messages of an NDJSON body, a line each, as it comes in; they are added to those that wait. */
export class MessageLines {
  readonly #plain: PlainLines;
  readonly #limits: InputLimits;
  readonly #waiting: WaitingMessages;
  /** Longest line. JSON can be longer than what it carries: base64 by a third, escapes by more. */
  readonly #lineMax: number;
  readonly #unfinished = new LineBuffer();
  #number = 0;

  constructor(plain: PlainLines, limits: InputLimits, waiting: WaitingMessages) {
    this.#plain = plain;
    this.#limits = limits;
    this.#waiting = waiting;
    this.#lineMax = Math.ceil((limits.message * 4) / 3) + 2 * limits.messageHeaders + 8192;
  }

  /** Number of the line whose end has not come yet; undefined between two lines. */
  get unfinished(): number | undefined {
    return this.#unfinished.length === 0 ? undefined : this.#number + 1;
  }

  /** Throws for the first line that gives no message; the messages before it wait. */
  append(chunk: Buffer): void {
    let start = 0;
    if (this.#unfinished.length > 0) {
      const lf = chunk.indexOf(LF);
      const end = lf === -1 ? chunk.length : lf;
      if (this.#unfinished.length + end > this.#lineMax) throw this.#tooLong(this.#number + 1);
      this.#unfinished.append(chunk, 0, end);
      if (lf === -1) return;
      this.#read(this.#unfinished.take());
      start = lf + 1;
    }
    const last = chunk.lastIndexOf(LF);
    if (last >= start) {
      this.#read(start === 0 && last === chunk.length - 1 ? chunk.subarray(0, last) : chunk.subarray(start, last));
      start = last + 1;
    }
    if (start === chunk.length) return;
    if (chunk.length - start > this.#lineMax) throw this.#tooLong(this.#number + 1);
    this.#unfinished.append(chunk, start, chunk.length);
  }

  /** The body has ended: the last line needs no line feed. Throws as `append` does. */
  end(): void {
    if (this.#unfinished.length > 0) this.#read(this.#unfinished.take());
  }

  /** Forgets the unfinished line. */
  drop(): void {
    this.#unfinished.take();
  }

  /** Reads whole lines, without the line feed of the last. */
  #read(bytes: Buffer): void {
    const waiting = this.#waiting;
    const { length, bytes: weight } = waiting;
    try {
      if (isUtf8(bytes)) this.#readText(bytes);
      else this.#readApart(bytes);
    } finally {
      // payloads are views of `bytes`, and must not keep much more in memory than they count for
      if ((waiting.bytes - weight) * 2 < bytes.length) waiting.detach(length);
    }
  }

  /** Some line is not UTF-8: those before it are taken, and it is named. */
  #readApart(bytes: Buffer): void {
    for (let start = 0; start <= bytes.length; ) {
      const lf = bytes.indexOf(LF, start);
      const end = lf === -1 ? bytes.length : lf;
      const line = bytes.subarray(start, end);
      if (!isUtf8(line)) {
        const at = { line: this.#number + 1 };
        throw new TailraceError('payload_invalid', 'the line is not valid UTF-8, as JSON must be', { at });
      }
      this.#readText(line);
      start = end + 1;
    }
  }

  /** Hot: the plain line is the usual one. */
  #readText(bytes: Buffer): void {
    const plain = this.#plain;
    for (let start = 0; start <= bytes.length; ) {
      this.#number++;
      if (bytes[start] === LF) {
        start++;
        continue;
      }
      const message = plain.read(bytes, start);
      if (message !== undefined) {
        this.#waiting.add(message, this.#number);
        start = plain.end + 1;
        continue;
      }
      const text = afterBlanks(bytes, start);
      if (text === bytes.length || bytes[text] === LF) {
        start = text + 1;
        continue;
      }
      const lf = bytes.indexOf(LF, text);
      const end = lf === -1 ? bytes.length : lf;
      this.#readOther(bytes, start, end);
      start = end + 1;
    }
  }

  /** A line in any form, good or bad. */
  #readOther(bytes: Buffer, start: number, end: number): void {
    if (end - start > this.#lineMax) throw this.#tooLong(this.#number);
    const learns = this.#plain.unknownTopic;
    const line = bytes.toString('utf8', start, end);
    try {
      const message = parseMessage(JSON.parse(line), line, 0, this.#limits);
      if (learns) this.#plain.learn(message.topic);
      this.#waiting.add(message, this.#number);
    } catch (error) {
      throw lineError(error).placed({ line: this.#number });
    }
  }

  #tooLong(line: number): TailraceError {
    return new TailraceError('payload_too_large', `the line has more than ${this.#lineMax} bytes`, { at: { line } });
  }
}

/** Where the blanks of JSON (RFC 8259 §2) from `start` on end, line feeds apart. */
function afterBlanks(bytes: Buffer, start: number): number {
  let at = start;
  while (at < bytes.length && (bytes[at] === SPACE || bytes[at] === TAB || bytes[at] === CR)) at++;
  return at;
}

/** What is wrong with a line that gave no message. */
function lineError(error: unknown): TailraceError {
  if (error instanceof TailraceError) return error;
  const { message } = error as Error;
  const several = /after JSON/.test(message)
    ? '; two values on one line: use --data-binary, since curl -d removes the line breaks'
    : '';
  return new TailraceError('bad_request', `the line is not JSON: ${message.slice(0, 200)}${several}`, { cause: error });
}
