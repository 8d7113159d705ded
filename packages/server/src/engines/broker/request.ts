import { expectFailed, topicEnded } from '../../log/refusals.ts';
import type { NewEntry } from '../broker-partition.ts';
import type { Call } from './call.ts';
import { headBytes } from './entry.ts';
import type { Verdict } from './verdicts.ts';

/** Entries and bytes of one, at most; one entry may be larger. */
const entriesMost = 2048;
const bytesMost = 1024 * 1024;
/** What a broker keeps of an entry beside its bytes, at most. */
const frameBytes = 24;

/** Entries that go to the broker together, and what becomes of each. */
export class Request {
  readonly entries: NewEntry[] = [];
  bytes = 0;
  /** Records that it made. */
  taken = 0;
  /** When it was formed, monotonic. */
  readonly since: number;
  /** What the node had read by then. */
  readonly seen: number;
  /** It may have been taken, and nobody can tell any more. */
  isDoubtful = false;
  /** Of each entry, the call and which of its messages. */
  readonly #calls: Call[] = [];
  readonly #indexes: number[] = [];
  readonly #room: number;
  #firstNumber = 0;
  /** Entries that have come back: they do in order. */
  #arrived = 0;
  #waiting: (() => void)[] = [];

  constructor(since: number, seen: number, room: number) {
    this.since = since;
    this.seen = seen;
    this.#room = Math.min(room, bytesMost);
  }

  get count(): number {
    return this.entries.length;
  }

  get hasArrived(): boolean {
    return this.#arrived === this.entries.length;
  }

  /** Whether an entry of `bytes` has no room any more. */
  isFull(bytes: number): boolean {
    if (this.count === 0) return false;
    const size = this.bytes + bytes + headBytes + frameBytes * (this.count + 1);
    return this.count === entriesMost || size > this.#room;
  }

  /** Takes the next message of the call. */
  add(call: Call, number: number, entry: NewEntry): void {
    if (this.count === 0) this.#firstNumber = number;
    this.#calls.push(call);
    this.#indexes.push(call.next++);
    this.entries.push(entry);
    this.bytes += entry.bytes.length;
    call.underWay++;
  }

  /** An entry of this node has come back through its tail. */
  arrived(number: number, verdict: Verdict, offset: number, time: number): void {
    const at = number - this.#firstNumber;
    if (at !== this.#arrived || at >= this.count || verdict.kind === 'repeated') return;
    this.#arrived++;
    const call = this.#calls[at]!;
    const index = this.#indexes[at]!;
    const message = call.messages[index]!;
    call.underWay--;
    switch (verdict.kind) {
      case 'taken':
        this.taken++;
        call.add(index, { offset, time, duplicate: false });
        break;
      case 'duplicate':
        call.add(index, { offset: verdict.offset, time: verdict.time, duplicate: true });
        break;
      case 'ended':
        call.add(index, { error: topicEnded(message.topic, verdict.offset) });
        break;
      case 'unexpected':
        call.add(index, { error: expectFailed(message, verdict.offset) });
        break;
      case 'stale':
        call.goBack(index);
        break;
    }
    if (this.hasArrived) this.sendAgain();
  }

  /** Resolves when all have come back, or it has to be sent again. */
  settled(): Promise<void> {
    return this.hasArrived ? Promise.resolve() : new Promise(resolve => this.#waiting.push(resolve));
  }

  sendAgain(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  giveUp(error: Error): void {
    for (const call of this.#calls.slice(this.#arrived)) {
      call.underWay--;
      call.giveUp(error);
    }
    this.#arrived = this.count;
  }
}
