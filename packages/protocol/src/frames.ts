import type { Envelope } from './envelope.ts';
import type { ErrorPlace, Problem, TailraceError } from './errors.ts';
import type { Message } from './message.ts';
import type { RefusedItem, SubscriptionRequest } from './subscription-request.ts';

/** Client's name for a request, echoed in its answer (§7). */
export type Ref = string | number;

export type ClientFrame =
  | {
      readonly type: 'connect';
      readonly ref: Ref | undefined;
      readonly token: string | undefined;
      readonly previous: string | undefined;
      readonly client: { readonly name: string; readonly version: string } | undefined;
      /** ms between heartbeats that the client wishes. */
      readonly heartbeat: number | undefined;
      readonly subscribe: readonly (SubscriptionRequest | RefusedItem)[];
    }
  | {
      readonly type: 'subscribe';
      readonly ref: Ref | undefined;
      readonly subscriptions: readonly (SubscriptionRequest | RefusedItem)[];
    }
  | { readonly type: 'unsubscribe'; readonly ref: Ref | undefined; readonly subs: readonly string[] }
  /** `failed`: the first message that did not pass, at index `messages.length`; what follows it is not attempted. */
  | {
      readonly type: 'publish';
      readonly ref: Ref | undefined;
      /** ms for its answer; undefined: as long as the server allows. */
      readonly deadline: number | undefined;
      readonly messages: readonly Message[];
      readonly total: number;
      readonly failed: TailraceError | undefined;
    }
  | { readonly type: 'ping'; readonly ref: Ref | undefined };

/** What the server sends; `messages` frames are written from bytes (§7) and appear here as their decoded form. */
export type ServerFrame =
  | {
      readonly type: 'welcome';
      readonly ref?: Ref;
      readonly session: string;
      readonly server: string;
      readonly protocol: string;
      readonly heartbeat: number;
      readonly user?: string;
      readonly tenant?: string;
      readonly expires?: number;
      readonly features: readonly string[];
      readonly limits: Readonly<Record<string, number>>;
    }
  | {
      readonly type: 'subscribed';
      readonly ref?: Ref;
      readonly at?: ErrorPlace;
      readonly sub: string;
      readonly filter: string | readonly string[];
      readonly cursor: string;
      readonly recovered?: boolean;
    }
  | {
      readonly type: 'messages';
      readonly sub: string;
      readonly after?: string;
      readonly cursor?: string;
      readonly messages: readonly Envelope[];
    }
  | { readonly type: 'cursor'; readonly sub: string; readonly after: string; readonly cursor: string }
  | { readonly type: 'live'; readonly sub: string; readonly cursor: string }
  | {
      readonly type: 'gap';
      readonly sub: string;
      readonly after: string;
      readonly cursor: string;
      readonly reason: 'trimmed' | 'lagging' | 'engine';
      readonly missed?: number;
    }
  | {
      readonly type: 'reset';
      readonly sub: string;
      readonly cursor: string;
      readonly reason: 'epoch' | 'ahead' | 'compacted';
    }
  | { readonly type: 'end'; readonly sub: string; readonly topic: string; readonly cursor: string }
  | { readonly type: 'unsubscribed'; readonly ref?: Ref; readonly sub: string; readonly code?: string }
  | { readonly type: 'published'; readonly ref?: Ref; readonly results: readonly PublishResult[] }
  | ({ readonly type: 'error'; readonly ref?: Ref; readonly sub?: string } & Problem)
  | { readonly type: 'heartbeat'; readonly time: number }
  | { readonly type: 'pong'; readonly ref?: Ref; readonly time: number }
  | { readonly type: 'drain'; readonly within: number }
  | { readonly type: 'degrade'; readonly within: number };

export type PublishResult =
  | { readonly offset?: number; readonly cursor?: string; readonly duplicate: boolean; readonly spooled?: true }
  | { readonly error: Problem };
