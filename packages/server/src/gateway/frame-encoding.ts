import type { ServerFrame } from '@tailrace/protocol';
import type { Encoding } from '../hub/index.ts';
import { joinEnvelopes } from './envelopes.ts';
import { headerLength, writeHeader } from './websocket/frame.ts';
import { Opcode } from './websocket/opcode.ts';

const noBody = Buffer.alloc(0);

// blocks are kept for others to share: a small one out of Buffer's pool would keep the whole piece of the pool
function allocate(length: number, body: Buffer): Buffer {
  return body === noBody ? Buffer.allocUnsafe(length) : Buffer.allocUnsafeSlow(length);
}

/** Server frames of §7 as JSON, each put into what carries it by `carry`. */
function frameEncoding(name: string, carry: (head: string, body: Buffer, tail: string) => Buffer): Encoding {
  return {
    name,
    body: (records, stored) => joinEnvelopes(records, stored),
    wrap(body, sub, after, cursor) {
      const chain = after === undefined ? '' : `"after":"${after}","cursor":"${cursor}",`;
      return carry(`{"type":"messages","sub":${JSON.stringify(sub)},${chain}"messages":[`, body, ']}');
    },
    notice: (frame: ServerFrame) => carry(JSON.stringify(frame), noBody, ''),
  };
}

/** `tailrace.v1.json`: one text message a frame. */
export const webSocketJson: Encoding = frameEncoding('ws-json', (head, body, tail) => {
  const headBytes = Buffer.byteLength(head);
  const length = headBytes + body.length + tail.length;
  const frame = allocate(headerLength(length) + length, body);
  let at = writeHeader(frame, 0, Opcode.text, length);
  at += frame.write(head, at);
  at += body.copy(frame, at);
  frame.write(tail, at, 'latin1');
  return frame;
});

/** POST /v1/sse: each event's data is one frame (§6). Frames hold no line break, so one `data:` line is enough. */
export const sseFrames: Encoding = frameEncoding('sse-frames', (head, body, tail) => {
  const length = 6 + Buffer.byteLength(head) + body.length + tail.length + 2;
  const text = allocate(length, body);
  let at = text.write('data: ', 0, 'latin1');
  at += text.write(head, at);
  at += body.copy(text, at);
  at += text.write(tail, at, 'latin1');
  text.write('\n\n', at, 'latin1');
  return text;
});
