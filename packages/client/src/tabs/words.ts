import type { ServerFrame } from '@tailrace/protocol';
import type { Published, Welcome, WireSubscription } from '../transports/transport.ts';

/** What tabs of one origin say to each other. A line is what one tab has open to the leader. */
export type Words =
  | { readonly kind: 'open'; readonly line: number; readonly wanted: readonly WireSubscription[] }
  | { readonly kind: 'add'; readonly line: number; readonly wanted: WireSubscription }
  | { readonly kind: 'remove'; readonly line: number; readonly sub: string }
  | { readonly kind: 'publish'; readonly line: number; readonly messages: readonly unknown[] }
  | { readonly kind: 'close'; readonly line: number }
  | Answer
  /** Another tab leads from now on: what was open to the one before is lost. */
  | { readonly kind: 'led' };

export type Answer =
  | { readonly kind: 'welcome'; readonly line: number; readonly welcome: Welcome }
  | { readonly kind: 'frame'; readonly line: number; readonly frame: ServerFrame }
  | { readonly kind: 'alive'; readonly line: number }
  | { readonly kind: 'published'; readonly line: number; readonly answer: Published }
  | {
      readonly kind: 'lost';
      readonly line: number;
      readonly code: string;
      readonly reason: string;
      readonly isFinal: boolean;
    };

export interface Letter {
  /** A tab, the one that leads, or all. */
  readonly to: string;
  readonly from: string;
  readonly words: Words;
}
