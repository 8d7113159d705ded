import type { Problem, ServerFrame } from '@tailrace/protocol';
import type { Environment } from '../environment.ts';
import type { TailraceError } from '../errors.ts';

/** One way to a server. */
export interface Transport {
  readonly name: TransportName;
  /** Whether it can leave what comes in the network; otherwise single subscriptions are given up for a while. */
  readonly canHold: boolean;
  /** Whether this environment has what it takes. */
  isOffered(environment: Environment): boolean;
  /** Begins an attempt; what becomes of it comes to the listener, never before this returns. */
  open(dial: Dial): Link;
}

/** `tabs`: by way of another tab, which has the connection. */
export type TransportName = 'websocket' | 'sse' | 'poll' | 'tabs';

export interface Dial {
  /** Where `/v1` is, without a slash at the end. */
  readonly endpoint: string;
  readonly environment: Environment;
  readonly token: string | undefined;
  /** Members of the `connect` frame (protocol.md §7.1). */
  readonly connect: Readonly<Record<string, unknown>>;
  /** What is to be received at this moment, each from its newest cursor. */
  wanted(): readonly WireSubscription[];
  readonly listener: LinkListener;
}

/** An item of `subscribe` (§7.1). */
export interface WireSubscription {
  readonly sub: string;
  readonly filter: string | readonly string[];
  readonly cursor?: string;
  readonly from?: string;
}

/** One connection, as far as a client can tell: a socket, or requests that follow each other. */
export interface Link {
  /** One more is wanted. True: it has been asked for by itself; false: it is, or will be, among what `wanted` told. */
  add(subscription: WireSubscription): boolean;
  /** This one is not wanted any more: what still comes of it is not for anybody. */
  remove(sub: string): void;
  /** Holds back what comes, where the transport can. */
  hold(isHeld: boolean): void;
  /** One at a time; its answer is `onPublished`. */
  publish(messages: readonly unknown[]): void;
  /** Makes a server that is there say something; false where that cannot be asked. */
  ping(): boolean;
  /** Ends it; the listener hears no more. */
  close(): void;
}

export interface LinkListener {
  /** The server is there; once, before everything else. */
  onWelcome(welcome: Welcome): void;
  onFrame(frame: ServerFrame): void;
  /** Bytes came. */
  onAlive(): void;
  onPublished(answer: Published): void;
  /** It is over; once, and nothing follows. */
  onLost(loss: Loss): void;
}

export interface Welcome {
  readonly type: 'welcome';
  /** ms: the longest silence of the server. */
  readonly heartbeat: number;
  /** Absent where nothing is received. */
  readonly session?: string;
}

export type Published =
  | { readonly results: readonly PublishedItem[] }
  /** The whole request was refused, or nobody knows. */
  | { readonly problem: Problem };

export type PublishedItem =
  | {
      readonly offset?: number;
      readonly cursor?: string;
      readonly duplicate: boolean;
      readonly spooled?: true;
    }
  | { readonly error: Problem };

export interface Loss {
  readonly error: TailraceError;
  /** ms that the server asks to wait. */
  readonly retryAfter?: number | undefined;
  /** It makes no sense to come again. */
  readonly isFinal?: boolean;
}
