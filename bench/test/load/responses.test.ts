import { expect, test } from 'vitest';
import { ResponseScanner } from '../../load/responses.ts';

const responses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde',
  'HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n',
  'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
];

test('finds status and end of pipelined responses wherever the chunks end', () => {
  const text = responses.join('').repeat(3);
  for (let size = 1; size <= text.length; size++) {
    const scanner = new ResponseScanner();
    const seen: string[] = [];
    for (let at = 0; at < text.length; at += size) {
      scanner.feed(text.slice(at, at + size), ({ status, retryAfter }) => seen.push(`${status} ${retryAfter}`));
    }
    expect(seen.join()).toBe(Array(3).fill('200 0,503 2000,201 0,204 0').join());
  }
});

test('a response whose end cannot be known is an error', () => {
  expect(() => new ResponseScanner().feed('HTTP/1.1 200 OK\r\n\r\n', () => undefined)).toThrow('without length');
});
