import type { IncomingMessage, ServerResponse } from 'node:http';
import { type InputLimits, type PlainLines, TailraceError, toTailraceError } from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';
import { type Held, type Hub, type Published, passedOn, spooled } from '../hub/index.ts';
import type { Appended } from '../log/index.ts';
import type { PublishCounts } from '../observe/publish-counts.ts';
import type { Answers } from './answers.ts';
import { type Bodies, type Swept, sendContinue } from './bodies.ts';
import { MessageLines } from './message-lines.ts';
import { type MessageBatch, WaitingMessages } from './waiting-messages.ts';

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

/** Bytes of checked lines that wait for the batch before them; beyond it the request is not read on. */
const waitingMax = 1024 * 1024;
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
  readonly #waiting = new WaitingMessages();
  readonly #lines: MessageLines;
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
  #last: Appended | undefined;
  /** Something was accepted that no progress line has told. */
  #untold = false;
  #idle = 0;

  constructor(req: IncomingMessage, res: ServerResponse, cors: HeaderList, options: PublishLinesOptions) {
    this.#req = req;
    this.#res = res;
    this.#cors = cors;
    this.#o = options;
    this.#lines = new MessageLines(options.plain, options.limits, this.#waiting);
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
    const line = this.#lines.unfinished;
    if (line !== undefined && !this.#paused && ++this.#idle > this.#o.bodies.patience) {
      const at = { line };
      this.#stop(new TailraceError('request_timeout', 'the line stopped arriving in its middle', { at }));
    }
    return true;
  }

  #data(chunk: Buffer): void {
    if (this.#readEnded) return;
    this.#idle = 0;
    try {
      this.#lines.append(chunk);
    } catch (error) {
      this.#stop(toTailraceError(error));
      return;
    }
    this.#submit();
    this.#pauseIfFull();
  }

  #end(): void {
    if (this.#readEnded) return;
    try {
      this.#lines.end();
    } catch (error) {
      this.#stop(toTailraceError(error));
      return;
    }
    this.#readEnded = true;
    this.#submit();
  }

  /** The client went away: whole lines that arrived were published and are kept; the rest never became a line. */
  #closed(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.#lines.drop();
    this.#submit();
  }

  /** Reads no further; what came before is published, then the client is told. */
  #stop(error: TailraceError): void {
    if (this.#finished || this.#failure !== undefined) return;
    this.#failure = error;
    this.#readEnded = true;
    this.#lines.drop();
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
    const batch = this.#waiting.take(this.#batchMax);
    if (this.#paused && this.#waiting.bytes <= waitingMax) this.#resume();
    this.#o.hub.publisher.publish(batch.messages, this.#o.deadline).then(
      results => {
        this.#busy = false;
        this.#batchMax *= 2;
        this.#settle(results, batch.lines);
        this.#submit();
      },
      (cause: unknown) => {
        this.#busy = false;
        const error = this.#o.answers.asError(cause, this.#req);
        // a stream is held back where a single publish is refused: the sweep tries again
        if (error.code === 'overloaded') this.#putBack(batch);
        else this.#refused(error, batch.lines[0]!);
        this.#submit();
      },
    );
  }

  #putBack(batch: MessageBatch): void {
    this.#heldOff = true;
    this.#batchMax = Math.max(1, Math.floor(batch.messages.length / 2));
    this.#waiting.putBack(batch);
    this.#pauseIfFull();
  }

  #pauseIfFull(): void {
    if (this.#paused || this.#waiting.bytes <= waitingMax) return;
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
      else if (result === spooled) counts.spooled++;
      else if ('error' in result) {
        this.#refused(result.error, lines[i]!);
        return;
      } else {
        if (result.duplicate) {
          counts.duplicates++;
          this.#duplicates++;
        } else counts.appended++;
        if (this.#last === undefined || isLater(result, this.#last)) this.#last = result;
      }
      this.#accepted++;
      this.#untold = true;
    }
  }

  /** The publisher did not take the message of this line: nothing after it is attempted. */
  #refused(error: TailraceError, line: number): void {
    this.#waiting.clear();
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
    if (this.#last === undefined) return '';
    return `,"cursor":"${this.#o.hub.tokens.ofAppended(this.#last)}"`;
  }

  #writeHead(): void {
    const res = this.#res;
    if (res.headersSent) return;
    const headers = ['Content-Type', 'application/x-ndjson', 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no'];
    if (this.#o.answers.closing || (this.#readEnded && !this.#req.complete)) headers.push('Connection', 'close');
    res.writeHead(200, [...headers, ...this.#cors]);
  }
}

function isLater(one: Appended, other: Appended): boolean {
  return one.time > other.time || (one.time === other.time && one.offset > other.offset);
}
