import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { Server } from '../../src/server.ts';
import { Bystander } from '../gateway/bystander.ts';
import { RawClient } from '../gateway/raw-client.ts';

let server: Server;
let port: number;
beforeAll(async () => {
  server = await Server.open(createConfig({ engine: 'memory', port: 0, log: { level: 'silent' } }));
  port = (await server.listen()).port;
});
afterAll(() => server.close());

const upgrade = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const json = ['Content-Type: application/json', 'Content-Length: 1'];

function request(line: string, headers: readonly string[], body = ''): string {
  return `${line} HTTP/1.1\r\n${headers.map(header => `${header}\r\n`).join('')}\r\n${body}`;
}

/** Each way in, read by this server on the bare socket or left to node:http, and what it says when it serves. */
const ways: readonly (readonly [string, (headers: readonly string[]) => string, string])[] = [
  ['an event stream', headers => request('GET /v1/sse?filter=a', headers), '"type":"live"'],
  [
    'an event stream that node:http reads',
    headers => request('GET /v1/sse?filter=a', [...headers, 'Content-Length: 0']),
    '"type":"live"',
  ],
  ['a WebSocket', headers => request('GET /v1/ws', [...headers, ...upgrade]), '101 Switching Protocols'],
  [
    'a WebSocket that node:http reads',
    headers => request('GET /v1/ws', [...headers, ...upgrade, 'TE: trailers']),
    '101 Switching Protocols',
  ],
  ['a publish', headers => request('POST /v1/topics/a', [...headers, ...json], '1'), '"offset":'],
  [
    'a publish that node:http reads',
    headers => request('POST /v1/topics/a', [...headers, ...json, 'X-Odd: y'], '1'),
    '"offset":',
  ],
];

const statuses = (text: string): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]));

const host = 'Host: localhost';
const refused: readonly (readonly [number, readonly string[]])[] = [
  [403, [host, 'Origin: null']],
  [403, [host, 'Origin: NULL']],
  [403, [host, 'Origin:']],
  [403, [host, 'Origin: *']],
  [403, [host, 'Origin: localhost']],
  [403, [host, 'Origin: http://localhost@evil.example']],
  [403, [host, 'Origin: http://localhost:80@evil.example']],
  [403, [host, 'Origin: http://evil.example:80@localhost']],
  [403, [host, 'Origin: http://localhost:5173@evil.example:80']],
  [403, [host, 'Origin: http://evil.example#localhost']],
  [403, [host, 'Origin: http://evil.example/http://localhost']],
  [403, [host, 'Origin: http://localhost/']],
  [403, [host, 'Origin: http://localhost\\.evil.example']],
  [403, [host, 'Origin: http://localhost%2eevil.example']],
  [403, [host, 'Origin: http://LOCALHOST.EVIL.EXAMPLE']],
  [403, [host, 'Origin: HTTP://LOCALHOST']],
  [403, [host, 'Origin: http://localhost:0']],
  [403, [host, 'Origin: http://localhost:65536']],
  [403, [host, 'Origin: http://localhost:80:80']],
  [403, [host, 'Origin: ws://localhost']],
  [403, [host, 'Origin: http://localhost https://evil.example']],
  [403, [host, 'Origin: http://localhost, https://evil.example']],
  [403, [host, 'Origin: http://localhost', 'Origin: https://evil.example']],
  [403, [host, 'Origin: https://evil.example', 'Origin: http://localhost']],
  [403, [host, 'Origin: http://localhost', 'Origin: http://localhost']],
  [403, [host, 'Origin: http://localhost', 'Origin: null']],
  [403, [host, 'Origin:', 'Origin: http://localhost']],
  [403, [host, 'Sec-Fetch-Site: cross-site']],
  [403, [host, 'Sec-Fetch-Site: CROSS-SITE']],
  [403, [host, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site']],
  [403, [host, 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Site: none']],
  [421, ['Host: evil.example']],
  [421, ['Host: EVIL.EXAMPLE']],
  [421, ['Host: localhost.evil.example']],
  [421, ['Host: evil.example', 'Origin: http://localhost']],
  [421, ['Host: 127.0.0.1.nip.io']],
  [421, ['Host: 127.0.0.256']],
  [421, ['Host: 127.1']],
  [421, ['Host: 0.0.0.0']],
  [421, ['Host: 0x7f.0.0.1']],
  [421, ['Host: 2130706433']],
  [400, ['Host: localhost@evil.example']],
  [400, ['Host: evil.example@localhost']],
  [400, ['Host: localhost:80@evil.example:80']],
  [400, ['Host: user:word@localhost']],
  [400, ['Host: localhost:80:80']],
  [400, ['Host: localhost:']],
  [400, ['Host: localhost:0']],
  [400, ['Host: localhost:65536']],
  [400, ['Host: localhost:080808']],
  [400, ['Host: localhost:-80']],
  [400, ['Host: localhost:http']],
  [400, ['Host: localhost/evil.example']],
  [400, ['Host: localhost#evil.example']],
  [400, ['Host: localhost, evil.example']],
  [400, ['Host: localhost evil.example']],
  [400, ['Host: localhost%2eevil.example']],
  [400, ['Host: localhost..']],
  [400, ['Host: .localhost']],
  [400, ['Host: [::1]evil.example']],
  [400, ['Host: [::1']],
  [400, ['Host: [::1%25lo]']],
  [400, ['Host: ::1']],
  [400, ['Host: http://localhost']],
  [400, ['Host:']],
  [400, ['Host: localhost', 'Host: evil.example']],
  [400, ['Host: localhost', 'Host: localhost']],
  [400, []],
];

const served: readonly (readonly [readonly string[], string | undefined])[] = [
  [['Host: localhost'], undefined],
  [['Host: LOCALHOST:4080'], undefined],
  [['Host: localhost.'], undefined],
  [['host: 127.0.0.1'], undefined],
  [['Host: [::1]:65535'], undefined],
  [[host, 'Origin: http://localhost'], 'http://localhost'],
  [[host, 'origin: https://127.0.0.1:5173'], 'https://127.0.0.1:5173'],
  [[host, 'Origin: http://LOCALHOST:5173'], 'http://LOCALHOST:5173'],
  [[host, 'Origin: http://[::1]:5173'], 'http://[::1]:5173'],
  [[host, 'Sec-Fetch-Site: same-origin'], undefined],
  [[host, 'Sec-Fetch-Site: same-site'], undefined],
];

describe('origins and hosts, on each way in (docs/protocol.md §9)', () => {
  it.each(refused)('%i for %j', async (status, headers) => {
    await Bystander.beside({ port, gateway: server.gateway }, async () => {
      const before = server.log.head.offset;
      for (const [name, write] of ways) {
        const client = await RawClient.open(port);
        client.send(write(headers));
        const text = await client.has('"status":');
        expect([name, statuses(text)]).toEqual([name, [status]]);
        expect(text).toMatch(/\r\nContent-Type: application\/problem\+json\r\n/i);
        expect(text).not.toMatch(/access-control-allow-origin/i);
        client.destroy();
      }
      expect(server.log.head.offset).toBe(before);
    });
  });

  it('refuses behind requests that were served on the same connection', async () => {
    const good = request('POST /v1/topics/a', [host, ...json], '1');
    for (const headers of [
      [host, 'Origin: http://localhost@evil.example'],
      [host, 'Origin: http://localhost', 'Origin: https://evil.example'],
    ]) {
      const before = server.log.head.offset;
      const client = await RawClient.open(port);
      client.send(good + request('POST /v1/topics/a', [...headers, ...json], '1') + good);
      await client.has('"status":403');
      expect(statuses(client.text).slice(0, 2)).toEqual([200, 403]);
      client.destroy();
      expect(server.log.head.offset - before).toBeLessThan(3);
    }
  });

  it.each(served)('serves %j', async (headers, allowed) => {
    for (const [name, write, says] of ways) {
      const client = await RawClient.open(port);
      client.send(write(headers));
      const text = await client.has(says);
      const said = [...text.matchAll(/access-control-allow-origin: ([^\r]*)\r\n/gi)].map(match => match[1]);
      // a handshake needs no CORS: browsers do not read its headers
      expect([name, said]).toEqual([name, allowed === undefined || says.startsWith('101') ? [] : [allowed]]);
      client.destroy();
    }
  });
});
