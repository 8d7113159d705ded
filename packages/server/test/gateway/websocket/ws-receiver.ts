import type { Writable } from 'node:stream';
import * as ws from 'ws';
import type { WireEvent } from './recorder.ts';

interface WsReceiverOptions {
  readonly isServer: boolean;
  readonly maxPayload?: number;
  readonly maxFragments?: number;
}

// exported by `ws` since 8.0, missing in @types/ws
const { Receiver } = ws as unknown as { Receiver: new (options: WsReceiverOptions) => Writable };

/** What the receiver of `ws` makes of a byte stream, in the words of `record`. */
export function recordWs(slices: readonly Uint8Array[], options: WsReceiverOptions): WireEvent[] {
  const events: WireEvent[] = [];
  let concluded = false;
  const receiver = new Receiver(options);
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    events.push({ type: isBinary ? 'binary' : 'text', data: data.toString('latin1') });
  });
  receiver.on('ping', (data: Buffer) => events.push({ type: 'ping', data: data.toString('latin1') }));
  receiver.on('pong', (data: Buffer) => events.push({ type: 'pong', data: data.toString('latin1') }));
  receiver.on('conclude', (code: number, reason: Buffer) => {
    concluded = true;
    events.push({ type: 'close', code: code === 1005 ? undefined : code, reason: reason.toString() });
  });
  // the stream emits its error later; `errored` below is set at once
  receiver.on('error', () => undefined);
  // Node's streams read the stack of every error, and mapping it to the sources takes longer than all the rest
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    for (const slice of slices) {
      receiver.write(Buffer.from(slice));
      if (concluded || receiver.errored !== null) break;
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  if (receiver.errored) events.push({ type: 'error', code: statusCode(receiver.errored) });
  return events;
}

function statusCode(error: Error): number {
  const key = Object.getOwnPropertySymbols(error).find(symbol => symbol.description === 'status-code');
  const code: unknown = key === undefined ? undefined : Reflect.get(error, key);
  if (typeof code !== 'number') throw new Error('not an error of the receiver of ws', { cause: error });
  return code;
}
