import { checkMessage } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { sseFrames, webSocketJson } from '../../src/gateway/frame-encoding.ts';
import { LogRecord } from '../../src/log/index.ts';

describe.each([webSocketJson, sseFrames])('a block of $name', encoding => {
  it('owns its memory: one that is kept must not keep more than its bytes', () => {
    const record = new LogRecord(1, 1_700_000_000_000, checkMessage('a', Buffer.from('1'), {}));
    const body = encoding.body([record], true);
    const block = encoding.wrap!(body, 's', 'kabcd.1.0.0', 'kabcd.1.1.x');
    for (const { buffer, length } of [body, block]) expect(buffer.byteLength).toBe(length);
  });
});
