import { type Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import { encodedBound } from '../../log/intake.ts';
import type { BrokerPartition } from '../broker-partition.ts';
import { BatchMarks } from './batch-marks.ts';
import { Call, type Result } from './call.ts';
import { packEntry } from './entry.ts';
import type { Judge } from './judge.ts';
import type { Known } from './known.ts';
import { Request } from './request.ts';
import type { Verdict } from './verdicts.ts';

export interface AppendsParts {
  readonly partition: BrokerPartition;
  readonly clock: Clock;
  readonly known: Known;
  readonly judge: Judge;
  /** Unlike that of any other start of any server. */
  readonly node: string;
  /** What the clock says, or the newest record when that is younger. */
  readonly time: () => number;
  /** Of one request to the broker, at most. */
  readonly requestBytes: number;
  /** The broker has entries up to there. */
  readonly onHead: (head: number) => void;
  /** What may wait. */
  readonly bytesMax: number;
  readonly recordsMax: number;
  readonly onCommit: (durationMs: number, records: number, bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

const pauseAfterError = 100;
/** How long what the broker took may take to come back before it is sent again, ms. */
const patience = 10_000;
/** How long a request is sent again, ms. */
const giveUpAfter = 10 * 60 * 1000;

/**
 * The way in: one request is under way at a time, and what is appended meanwhile is the next. It is judged by all that this
 * node has read, and settled by what comes back through its own tail: so it does not matter how often it had to be sent.
 */
export class Appends {
  commits = 0;
  pendingRecords = 0;
  pendingBytes = 0;
  /** Why the broker takes nothing just now. */
  refused: string | undefined;
  readonly #parts: AppendsParts;
  #queue: Call[] = [];
  #number = 0;
  #request: Request | undefined;
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};
  /** Calls at the front of the queue that the newest request was formed of. */
  #visited = 0;
  #closed = false;
  #abandoned = false;

  constructor(parts: AppendsParts) {
    this.#parts = parts;
  }

  append(messages: readonly Message[]): Promise<readonly Result[]> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', 'the log is closed'));
    if (messages.length === 0) return Promise.resolve([]);
    const { bytesMax, recordsMax, clock } = this.#parts;
    const call = new Call(messages, clock.monotonic());
    const { pendingRecords } = this;
    if (
      pendingRecords > 0 &&
      (this.pendingBytes + call.bytes > bytesMax || pendingRecords + messages.length > recordsMax)
    )
      return Promise.reject(
        new TailraceError('overloaded', `${pendingRecords} records wait for their commit`, { retryAfter: 100 }),
      );
    this.pendingRecords += messages.length;
    this.pendingBytes += call.bytes;
    if (call.expecting.size > 0) this.#loadKeys(call);
    this.#queue.push(call);
    this.#wake();
    this.#running ??= this.#run();
    return call.promise;
  }

  /** An entry of this node has come back. */
  arrived(number: number, verdict: Verdict, offset: number, time: number): void {
    this.#request?.arrived(number, verdict, offset, time);
  }

  /** What was on its way may be lost; or it was taken, and removed again below `floor`. */
  rewound(floor: number): void {
    const request = this.#request;
    if (request === undefined) return;
    request.isDoubtful = request.seen < floor;
    request.sendAgain();
  }

  /** Takes nothing more; resolves when what waits is settled. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  /** Gives up what waits: nobody knows whether the request under way was taken. */
  abandon(): void {
    this.#closed = true;
    this.#abandoned = true;
    this.#request?.sendAgain();
    this.#wake();
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    // what is appended in this turn of the event loop goes along
    await new Promise<void>(resolve => clock.soon(resolve));
    while (this.#queue.length > 0) {
      if (this.#abandoned) this.#giveUpRest();
      const request = this.#form();
      if (request.count > 0) await this.#send(request);
      // what is left waits for keys
      else if (!this.#settle()) await new Promise<void>(resolve => (this.#wake = resolve));
    }
    this.#running = undefined;
  }

  /** Learns what the keys are that it expects something of. */
  #loadKeys(call: Call): void {
    const { keys } = this.#parts.judge;
    for (const table of call.tables) keys.release(table);
    call.tables = [...call.expecting].map(topic => keys.use(topic, this.#parts.known.head.offset));
    void Promise.all(call.tables.map(({ loading }) => loading))
      .catch((error: Error) => call.giveUp(error))
      .then(() => this.#wake());
  }

  #knowsKeys(call: Call): boolean {
    if (!call.tables.every(({ loaded }) => loaded)) return false;
    const { keys } = this.#parts.judge;
    for (const topic of call.expecting)
      if (keys.ready(topic) === undefined) {
        this.#loadKeys(call);
        return false;
      }
    return true;
  }

  /** Judges what waits, in order, as far as it goes into one request. */
  #form(): Request {
    const { clock, known, node, judge, time } = this.#parts;
    const seen = known.offset;
    const epoch = known.epochs.epochOf(seen);
    const request = new Request(clock.monotonic(), seen, this.#parts.requestBytes);
    const marks = new BatchMarks();
    const held = new Set<string>();
    const now = time();
    this.#visited = 0;
    for (const call of this.#queue) {
      this.#visited++;
      if (call.expecting.size > 0 && !call.isJudged && !this.#knowsKeys(call))
        for (const { topic } of call.messages) held.add(topic);
      // the order of calls is the order of offsets in each topic
      if (held.size > 0 && call.messages.some(({ topic }) => held.has(topic))) {
        for (const { topic } of call.messages) held.add(topic);
        continue;
      }
      for (let inRequest = false; !call.isJudged; ) {
        const message = call.messages[call.next]!;
        if (marks.depends(message)) return request;
        const result = judge.judge(message);
        if (result !== undefined) {
          call.add(call.next++, result);
          continue;
        }
        if (request.isFull(encodedBound(message))) return request;
        marks.add(message);
        const head = {
          ...{ node, number: ++this.#number, seen, epoch },
          isFirst: request.count === 0,
          continues: inRequest,
          isConditional: message.expect !== undefined,
        };
        request.add(call, head.number, { time: now, bytes: packEntry(head, message) });
        inRequest = true;
      }
    }
    return request;
  }

  async #send(request: Request): Promise<void> {
    const { clock, onCommit } = this.#parts;
    this.#request = request;
    try {
      await this.#untilArrived(request);
      this.refused = undefined;
      this.commits++;
      onCommit(clock.monotonic() - request.since, request.taken, request.bytes);
    } catch (error) {
      request.giveUp(error as Error);
    }
    this.#request = undefined;
    this.#settle();
  }

  async #untilArrived(request: Request): Promise<void> {
    const { clock, partition, onHead } = this.#parts;
    const since = clock.monotonic();
    // once nobody knows what became of an attempt, only the tail can tell
    let isUncertain = false;
    while (!request.hasArrived) {
      if (this.#abandoned) throw unknown('the log was closed before this node had read back what the broker took');
      if (request.isDoubtful) throw unknown('its place in the log was removed before this node had read it');
      if (clock.monotonic() - since > giveUpAfter) throw unknown('the broker has not answered for ten minutes');
      try {
        const appended = partition.append(request.entries).then(offsets => {
          onHead(offsets[offsets.length - 1]!);
          return true;
        });
        const isTaken = await Promise.race([appended, request.settled().then(() => false)]);
        isUncertain = true;
        if (isTaken) await within(clock, patience, request.settled());
      } catch (error) {
        const code = error instanceof TailraceError ? error.code : 'outcome_unknown';
        if (code === 'outcome_unknown') isUncertain = true;
        else if (code !== 'engine_unavailable' && !isUncertain) throw this.#refusal(error as TailraceError);
        await within(clock, pauseAfterError, request.settled());
      }
    }
  }

  #refusal(error: TailraceError): TailraceError {
    this.refused = error.message;
    this.#parts.onError(error);
    return error;
  }

  /** None of it is under way. */
  #giveUpRest(): void {
    for (const call of this.#queue)
      call.giveUp(new TailraceError('draining', 'the log was closed before this was sent to the broker'));
  }

  /** Lets go what is done; returns whether something was. */
  #settle(): boolean {
    const left: Call[] = [];
    for (const call of this.#queue.slice(0, this.#visited)) {
      if (!call.isDone) {
        left.push(call);
        continue;
      }
      this.pendingRecords -= call.messages.length;
      this.pendingBytes -= call.bytes;
      for (const table of call.tables) this.#parts.judge.keys.release(table);
      call.settle();
    }
    const done = this.#visited - left.length;
    if (done > 0) this.#queue = left.concat(this.#queue.slice(this.#visited));
    return done > 0;
  }
}

function unknown(why: string): TailraceError {
  return new TailraceError('outcome_unknown', `${why}; publish again with the same id`, { retryAfter: 1000 });
}

/** Resolves when `promise` does, or when the time is over. */
function within(clock: Clock, ms: number, promise: Promise<void>): Promise<void> {
  return new Promise(resolve => {
    const stop = clock.after(ms, resolve);
    void promise.then(() => {
      stop();
      resolve();
    });
  });
}
