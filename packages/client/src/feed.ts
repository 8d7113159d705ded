import type { Envelope, ServerFrame } from '@tailrace/protocol';
import type { Seen } from './seen.ts';

/** What a subscription was given, in order, until the application has taken it. */
export type Item =
  | { readonly kind: 'messages'; readonly messages: readonly Envelope[]; readonly cursor: string | undefined }
  | { readonly kind: 'notice'; readonly notice: Notice; readonly cursor: string };

export type Notice = Extract<ServerFrame, { readonly type: 'gap' | 'reset' | 'live' | 'end' | 'cursor' }>;

type Chained = Extract<ServerFrame, { readonly type: 'messages' }> | Notice;

/** How a subscription stands with the server. */
export type Wire =
  /** It is not asked for, or is given up. */
  | 'off'
  /** It was asked for and is not answered: what comes is of one that was given up before. */
  | 'asked'
  | 'on';

/**
 * The end of a subscription that faces the server: its cursor, the chain of frames, and which records it has had. One that
 * is asked for again goes on behind the newest frame that came whole.
 *
 *    frames ──► feed: is this the next one? which records are new? ──► items ──► inbox ──► application
 */
export class Feed {
  /** Up to here everything has come; undefined before the first answer. */
  cursor: string | undefined;
  readonly seen: Seen;
  #awaited = 0;
  #isOn = false;

  constructor(cursor: string | undefined, seen: Seen) {
    this.cursor = cursor;
    this.seen = seen;
  }

  get wire(): Wire {
    if (this.#awaited > 0) return 'asked';
    return this.#isOn ? 'on' : 'off';
  }

  /** It is asked for: `again` where answers to earlier questions may still come on this connection. */
  asked(again: boolean): void {
    this.#awaited = again ? this.#awaited + 1 : 1;
    this.#isOn = false;
  }

  /** What still comes is for nobody. */
  left(): void {
    this.#isOn = false;
  }

  /** The connection is gone, and with it every answer. */
  lost(): void {
    this.#awaited = 0;
    this.#isOn = false;
  }

  /** The newest question was refused; false: an earlier one was. */
  refused(): boolean {
    if (this.#awaited > 0) this.#awaited--;
    return this.#awaited === 0;
  }

  /** The answer to a question; true when it is the newest. */
  granted(cursor: string): boolean {
    if (this.#awaited > 0) this.#awaited--;
    if (this.#awaited > 0) return false;
    this.#isOn = true;
    this.cursor = cursor;
    return true;
  }

  /** What a frame brings that is new; 'broken' when one before it is missing. */
  take(frame: Chained): Item | 'broken' | undefined {
    if (this.wire !== 'on') return undefined;
    if (isBroken(frame, this.cursor)) return 'broken';
    if (frame.cursor !== undefined) this.cursor = frame.cursor;
    if (frame.type !== 'messages') {
      // offsets may begin anew behind it
      if (frame.type === 'reset') this.seen.clear();
      return { kind: 'notice', notice: frame, cursor: frame.cursor };
    }
    return {
      kind: 'messages',
      messages: frame.messages.filter(message => this.seen.isNew(message)),
      cursor: frame.cursor,
    };
  }
}

/** Each frame says where the one before it ended; only `reset` begins anew, and class `none` stands beside the chain. */
function isBroken(frame: Chained, cursor: string | undefined): boolean {
  if (frame.type === 'reset') return false;
  const before = frame.type === 'live' || frame.type === 'end' ? frame.cursor : frame.after;
  return before !== undefined && before !== cursor;
}
