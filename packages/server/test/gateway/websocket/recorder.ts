import {
  defaultReceiverLimits,
  type Receiver,
  type ReceiverLimits,
  type ReceiverSink,
  receive,
} from '../../../src/gateway/websocket/receiver.ts';

/** What a receiver delivered; payloads as latin1 so that a failing comparison shows the bytes. */
export type WireEvent =
  | { readonly type: 'text' | 'binary' | 'ping' | 'pong'; readonly data: string }
  | { readonly type: 'close'; readonly code: number | undefined; readonly reason: string }
  | { readonly type: 'error'; readonly code: number };

/** Copies what the receiver delivers, and throws when anything follows the end. */
export class Recorder implements ReceiverSink {
  readonly events: WireEvent[] = [];
  readonly limits: ReceiverLimits;
  errorReason = '';

  constructor(limits: Partial<ReceiverLimits> = {}) {
    this.limits = { ...defaultReceiverLimits, ...limits };
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    this.add({ type: isBinary ? 'binary' : 'text', data: data.toString('latin1') });
  }

  onPing(data: Buffer): void {
    this.add({ type: 'ping', data: data.toString('latin1') });
  }

  onPong(data: Buffer): void {
    this.add({ type: 'pong', data: data.toString('latin1') });
  }

  onClose(code: number | undefined, reason: string): void {
    this.add({ type: 'close', code, reason });
  }

  onError(code: number, reason: string): void {
    this.errorReason = reason;
    this.add({ type: 'error', code });
  }

  private add(event: WireEvent): void {
    const last = this.events.at(-1);
    if (last?.type === 'close' || last?.type === 'error') {
      throw new Error(`${JSON.stringify(event)} was delivered after the end: ${JSON.stringify(last)}`);
    }
    this.events.push(event);
  }
}

export interface Recording {
  readonly events: WireEvent[];
  readonly state: Receiver | null;
  readonly errorReason: string;
}

/** Feeds copies of the slices to a new connection: the receiver unmasks in place. */
export function record(slices: readonly Uint8Array[], limits: Partial<ReceiverLimits> = {}): Recording {
  const recorder = new Recorder(limits);
  let state: Receiver | null = null;
  for (const slice of slices) state = receive(state, Buffer.from(slice), recorder);
  return { events: recorder.events, state, errorReason: recorder.errorReason };
}

export function bytewise(stream: Uint8Array): Uint8Array[] {
  return Array.from(stream, byte => Uint8Array.of(byte));
}

/** Cuts a stream at the given positions, which may be any numbers from 0 to 1. */
export function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const positions = places.map(place => Math.floor(place * stream.length)).sort((a, b) => a - b);
  return [...positions, stream.length].map((end, at) => stream.subarray(at === 0 ? 0 : positions[at - 1]!, end));
}
