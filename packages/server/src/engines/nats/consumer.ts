import type { Msg } from '@nats-io/transport-node';
import type { Entry, EntryTimes } from '../broker-partition.ts';
import type { Line } from './connection.ts';
import { decodeEntry } from './entry.ts';

export interface ConsumerParts {
  readonly times: EntryTimes;
  /** Consecutive. `left`: entries that the server had beyond them. */
  readonly onEntries: (entries: readonly Entry[], left: number) => void;
  /** `stored`: when the server stored the entry, ns since 1970. */
  readonly onSeen: (offset: number, stored: number) => void;
  /** What would lie between this offset and the one before it is gone. */
  readonly onHole: (offset: number) => void;
  /** What comes first is behind it. */
  readonly after: number;
  /** Up to here it is known why something is missing. */
  readonly knownTo: number;
}

const statusControl = 100;
/** Bytes that are handed on at once, about. */
const handedBytes = 1024 * 1024;

/** Takes what a consumer in the server sends, as long as that is without gaps. */
export class Consumer {
  readonly #parts: ConsumerParts;
  /** Messages of this consumer so far: the server numbers them. */
  #taken = 0;
  #last: number;
  #entries: Entry[] = [];
  #bytes = 0;
  #left = 0;
  #isOver = false;

  constructor(parts: ConsumerParts) {
    this.#parts = parts;
    this.#last = parts.after;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nothing more comes of it, not even what it has taken and not handed on. */
  end(): void {
    this.#isOver = true;
    this.#entries = [];
  }

  /** False when something is missing, or the server has ended it: another has to go on. */
  take({ nats }: Line, message: Msg): boolean {
    const { headers, reply, data } = message;
    if (headers !== undefined && headers.code !== 0) {
      if (headers.code !== statusControl) return false;
      // the server waits for an answer before it sends more
      const control = reply || headers.get('Nats-Consumer-Stalled');
      if (control !== '') nats.publish(control);
      const sent = headers.get('Nats-Last-Consumer');
      return sent === '' || Number(sent) === this.#taken;
    }
    const [left, stored, number, offset] = numbersOf(reply!);
    if (number !== this.#taken + 1) return false;
    this.#taken = number;
    // what was removed while it was on its way is left out without a sign
    if (offset > this.#last + 1 && offset > this.#parts.knownTo) {
      this.#parts.onHole(offset);
      return false;
    }
    this.#last = offset;
    this.#parts.onSeen(offset, stored);
    this.#left = left;
    // what came in one piece is handed on in one
    if (this.#entries.length === 0) queueMicrotask(() => this.#hand());
    this.#entries.push(decodeEntry(offset, data, this.#parts.times === 'broker' ? stored : undefined));
    this.#bytes += data.length;
    if (this.#bytes >= handedBytes) this.#hand();
    return true;
  }

  #hand(): void {
    if (this.#entries.length === 0) return;
    const entries = this.#entries;
    this.#entries = [];
    this.#bytes = 0;
    this.#parts.onEntries(entries, this.#left);
  }
}

/**
 * How many follow, when the entry was stored, its number among the messages of the consumer, its offset: of
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<offset>.<number>.<stored>.<pending>`, in which `<domain>.<account>` may stand
 * before the stream, and something behind the end.
 */
function numbersOf(reply: string): [left: number, stored: number, number: number, offset: number] {
  const parts = reply.split('.');
  const from = parts.length === 9 ? 5 : 7;
  return [Number(parts[from + 3]), Number(parts[from + 2]), Number(parts[from + 1]), Number(parts[from])];
}
