import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type InputLimits,
  type Message,
  type PlainLines,
  parseMessage,
  TailraceError,
  toTailraceError,
} from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';
import { type Held, type Hub, type Published, passedOn } from '../hub/index.ts';
import type { PublishCounts } from '../observe/publish-counts.ts';
import type { Answers } from './answers.ts';
import { type Bodies, type Swept, sendContinue } from './bodies.ts';
import { LineBuffer } from './line-buffer.ts';

export interface PublishLinesOptions {
  readonly hub: Hub;
  readonly answers: Answers;
  readonly bodies: Bodies;
  readonly limits: InputLimits;
  /** Shared by all requests: what one learns about topics serves the next. */
  readonly plain: PlainLines;
  readonly counts: PublishCounts;
  /** ms for a batch to be answered, from its append; undefined: the server's. */
  readonly deadline: number | undefined;
  readonly onEnd: (lines: PublishLines) => void;
}

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
/** Bytes of checked lines that wait for the batch before them; beyond it the request is not read on. */
const waitingMax = 1024 * 1024;
/** What a message costs beside its data. */
const messageWeight = 200;

/**
 * One NDJSON request (§4): a message a line, appended as it arrives, in bounded memory.
 *
 *     socket ─► unfinished line ─► waiting (≤ 1 MiB) ─► one batch at the publisher ─► progress, newest only
 *       ▲                                │
 *       └────────── paused while full ───┘
 *
 * One batch at a time: what comes meanwhile is the next one, so batches grow by themselves under load, and nothing that
 * follows a refused message is ever appended.
 */
export class PublishLines implements Swept, Held {
  readonly #o: PublishLinesOptions;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #cors: HeaderList;
  /** Longest line. JSON can be longer than what it carries: base64 by a third, escapes by more. */
  readonly #lineMax: number;
  readonly #unfinished = new LineBuffer();
  #lineNumber = 0;
  #waiting: Message[] = [];
  #waitingLines: number[] = [];
  #waitingBytes = 0;
  #busy = false;
  /** The log had no room: not tried again before the next sweep. */
  #heldOff = false;
  /** Messages of one batch; halved when the log has no room for it. */
  #batchMax = Number.POSITIVE_INFINITY;
  #paused = false;
  /** Nothing more is read: the body ended, the client left, or a line was bad. */
  #readEnded = false;
  #failure: TailraceError | undefined;
  #finished = false;
  #accepted = 0;
  #duplicates = 0;
  #lastOffset = 0;
  #lastTime = 0;
  /** Something was accepted that no progress line has told. */
  #untold = false;
  #idle = 0;

  constructor(req: IncomingMessage, res: ServerResponse, cors: HeaderList, options: PublishLinesOptions) {
    this.#req = req;
    this.#res = res;
    this.#cors = cors;
    this.#o = options;
    const { message, messageHeaders } = options.limits;
    this.#lineMax = Math.ceil((message * 4) / 3) + 2 * messageHeaders + 8192;
  }

  start(): void {
    const req = this.#req;
    if (req.headers.expect !== undefined) sendContinue(this.#res);
    // between lines it may be silent for as long as it likes; only the kernel can tell whether anybody is left
    req.socket.setKeepAlive(true, 30_000);
    this.#o.bodies.add(this);
    this.#o.bodies.pace(req);
    req.on('data', (chunk: Buffer) => this.#data(chunk));
    req.on('end', () => this.#end());
    req.on('close', () => this.#closed());
  }

  /** The server shuts down: what arrived is published, then the client is told to go on elsewhere. */
  drain(): void {
    if (this.#readEnded) return;
    this.#stop(new TailraceError('draining', 'the server is shutting down; send what was not accepted again'));
  }

  /** Tells progress, tries again what the log had no room for, and gives up on a line that stopped in its middle. */
  sweep(): boolean {
    if (this.#finished) return false;
    this.#heldOff = false;
    this.#submit();
    if (this.#untold && !this.#readEnded && this.#res.writableLength === 0) {
      this.#untold = false;
      this.#writeHead();
      this.#res.write(`{"accepted":${this.#accepted}${this.#cursorMember()}}\n`);
    }
    if (this.#unfinished.length > 0 && !this.#paused && ++this.#idle > this.#o.bodies.patience) {
      const at = { line: this.#lineNumber + 1 };
      this.#stop(new TailraceError('request_timeout', 'the line stopped arriving in its middle', { at }));
    }
    return true;
  }

  #data(chunk: Buffer): void {
    if (this.#readEnded) return;
    this.#idle = 0;
    let start = 0;
    if (this.#unfinished.length > 0) {
      const lf = chunk.indexOf(LF);
      const end = lf === -1 ? chunk.length : lf;
      if (this.#unfinished.length + end > this.#lineMax) {
        this.#stop(this.#tooLong(this.#lineNumber + 1));
        return;
      }
      this.#unfinished.append(chunk, 0, end);
      if (lf === -1) return;
      this.#lines(this.#unfinished.take());
      start = lf + 1;
    }
    const last = chunk.lastIndexOf(LF);
    if (last >= start && !this.#readEnded) {
      this.#lines(start === 0 && last === chunk.length - 1 ? chunk.subarray(0, last) : chunk.subarray(start, last));
      start = last + 1;
    }
    if (start < chunk.length && !this.#readEnded) {
      if (chunk.length - start > this.#lineMax) {
        this.#stop(this.#tooLong(this.#lineNumber + 1));
        return;
      }
      this.#unfinished.append(chunk, start, chunk.length);
    }
    this.#submit();
    this.#pauseIfFull();
  }

  /** Reads whole lines, without the line feed of the last. */
  #lines(bytes: Buffer): void {
    const from = this.#waiting.length;
    const weight = this.#waitingBytes;
    let failure: TailraceError | undefined;
    try {
      if (isUtf8(bytes)) this.#read(bytes);
      else this.#readApart(bytes);
    } catch (error) {
      failure = toTailraceError(error);
    }
    // payloads are views of `bytes`, and must not keep much more in memory than they count for
    if ((this.#waitingBytes - weight) * 2 < bytes.length) this.#detach(from);
    if (failure !== undefined) this.#stop(failure);
  }

  /** Some line is not UTF-8: those before it are taken, and it is named. */
  #readApart(bytes: Buffer): void {
    for (let start = 0; start <= bytes.length; ) {
      const lf = bytes.indexOf(LF, start);
      const end = lf === -1 ? bytes.length : lf;
      const line = bytes.subarray(start, end);
      if (!isUtf8(line)) {
        const at = { line: this.#lineNumber + 1 };
        throw new TailraceError('payload_invalid', 'the line is not valid UTF-8, as JSON must be', { at });
      }
      this.#read(line);
      start = end + 1;
    }
  }

  /** Hot: the plain line is the usual one. */
  #read(bytes: Buffer): void {
    const { plain } = this.#o;
    for (let start = 0; start <= bytes.length; ) {
      this.#lineNumber++;
      if (bytes[start] === LF) {
        start++;
        continue;
      }
      const message = plain.read(bytes, start);
      if (message !== undefined) {
        this.#take(message);
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
    const { plain, limits } = this.#o;
    if (end - start > this.#lineMax) throw this.#tooLong(this.#lineNumber);
    const learns = plain.unknownTopic;
    const line = bytes.toString('utf8', start, end);
    try {
      const message = parseMessage(JSON.parse(line), line, 0, limits);
      if (learns) plain.learn(message.topic);
      this.#take(message);
    } catch (error) {
      throw lineError(error).placed({ line: this.#lineNumber });
    }
  }

  #take(message: Message): void {
    this.#waiting.push(message);
    this.#waitingLines.push(this.#lineNumber);
    this.#waitingBytes += message.data.length + messageWeight;
  }

  /** Payloads get memory of their own. */
  #detach(from: number): void {
    for (let i = from; i < this.#waiting.length; i++) {
      const message = this.#waiting[i]!;
      this.#waiting[i] = { ...message, data: new Uint8Array(message.data) };
    }
  }

  #end(): void {
    if (this.#readEnded) return;
    if (this.#unfinished.length > 0) this.#lines(this.#unfinished.take());
    this.#readEnded = true;
    this.#submit();
  }

  /** The client went away: whole lines that arrived were published and are kept; the rest never became a line. */
  #closed(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.#unfinished.take();
    this.#submit();
  }

  #tooLong(line: number): TailraceError {
    return new TailraceError('payload_too_large', `the line has more than ${this.#lineMax} bytes`, { at: { line } });
  }

  /** Reads no further; what came before is published, then the client is told. */
  #stop(error: TailraceError): void {
    if (this.#finished || this.#failure !== undefined) return;
    this.#failure = error;
    this.#readEnded = true;
    this.#unfinished.take();
    if (this.#paused) this.#resume();
    this.#submit();
  }

  #submit(): void {
    if (this.#busy || this.#heldOff) return;
    if (this.#waiting.length === 0) {
      if (this.#readEnded) this.#finish();
      return;
    }
    this.#busy = true;
    if (!this.#o.hub.brake.hold(this)) this.released();
  }

  /** The brake lets the next batch go. */
  released(): void {
    const messages = this.#takeBatch();
    const lines = this.#waitingLines.splice(0, messages.length);
    this.#o.hub.publisher.publish(messages, this.#o.deadline).then(
      results => {
        this.#busy = false;
        this.#batchMax *= 2;
        this.#settle(results, lines);
        this.#submit();
      },
      (cause: unknown) => {
        this.#busy = false;
        const error = this.#o.answers.asError(cause, this.#req);
        // a stream is held back where a single publish is refused: the sweep tries again
        if (error.code === 'overloaded') this.#putBack(messages, lines);
        else this.#refused(error, lines[0]!);
        this.#submit();
      },
    );
  }

  #takeBatch(): Message[] {
    const all = this.#waiting;
    const messages = all.length <= this.#batchMax ? all : all.slice(0, this.#batchMax);
    this.#waiting = messages === all ? [] : all.slice(this.#batchMax);
    this.#waitingBytes = 0;
    for (const message of this.#waiting) this.#waitingBytes += message.data.length + messageWeight;
    if (this.#paused && this.#waitingBytes <= waitingMax) this.#resume();
    return messages;
  }

  #putBack(messages: Message[], lines: number[]): void {
    this.#heldOff = true;
    this.#batchMax = Math.max(1, Math.floor(messages.length / 2));
    this.#waiting = messages.concat(this.#waiting);
    this.#waitingLines = lines.concat(this.#waitingLines);
    for (const message of messages) this.#waitingBytes += message.data.length + messageWeight;
    this.#pauseIfFull();
  }

  #pauseIfFull(): void {
    if (this.#paused || this.#waitingBytes <= waitingMax) return;
    this.#paused = true;
    this.#req.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#req.resume();
  }

  #settle(results: readonly Published[], lines: readonly number[]): void {
    const { counts } = this.#o;
    for (let i = 0; i < results.length; i++) {
      const result = results[i]!;
      if (result === passedOn) counts.live++;
      else if ('error' in result) {
        this.#refused(result.error, lines[i]!);
        return;
      } else {
        if (result.duplicate) {
          counts.duplicates++;
          this.#duplicates++;
        } else counts.appended++;
        if (result.offset > this.#lastOffset) {
          this.#lastOffset = result.offset;
          this.#lastTime = result.time;
        }
      }
      this.#accepted++;
      this.#untold = true;
    }
  }

  /** The publisher did not take the message of this line: nothing after it is attempted. */
  #refused(error: TailraceError, line: number): void {
    this.#waiting = [];
    this.#waitingLines = [];
    this.#waitingBytes = 0;
    this.#failure = undefined;
    this.#stop(error.placed({ line }));
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#o.bodies.delete(this);
    this.#o.onEnd(this);
    const failure = this.#failure;
    if (failure !== undefined) this.#o.counts.fail(failure.code);
    if (this.#res.destroyed) return;
    if (failure !== undefined && this.#accepted === 0 && !this.#res.headersSent) {
      this.#o.bodies.refuse(this.#req, this.#res, this.#cors, failure);
      return;
    }
    this.#writeHead();
    const line = failure === undefined ? this.#doneLine() : this.#errorLine(failure);
    if (this.#req.complete) this.#res.end(line);
    else {
      this.#res.write(line);
      this.#o.bodies.linger(this.#req, this.#res);
    }
  }

  #doneLine(): string {
    return `{"done":true,"accepted":${this.#accepted},"duplicates":${this.#duplicates}${this.#cursorMember()}}\n`;
  }

  #errorLine(failure: TailraceError): string {
    const problem = failure.toProblem();
    const error = problem.at?.line === undefined ? problem : { ...problem, line: problem.at.line };
    return `${JSON.stringify({ error, accepted: this.#accepted, duplicates: this.#duplicates })}\n`;
  }

  #cursorMember(): string {
    if (this.#lastOffset === 0) return '';
    return `,"cursor":"${this.#o.hub.tokens.of(this.#lastOffset, this.#lastTime)}"`;
  }

  #writeHead(): void {
    const res = this.#res;
    if (res.headersSent) return;
    const headers = ['Content-Type', 'application/x-ndjson', 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no'];
    if (this.#o.answers.closing || (this.#readEnded && !this.#req.complete)) headers.push('Connection', 'close');
    res.writeHead(200, [...headers, ...this.#cors]);
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
