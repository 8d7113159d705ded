// A shop's own node:http server with Tailrace inside: /v1 is Tailrace's, the rest is the shop's.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { createTailrace } from 'tailrace';

const t = await createTailrace({ data: './data' });

// The shop is a subscriber too: it counts its orders from the log, so the count survives a restart.
let orders = 0;
const stopping = new AbortController();
const counting = (async () => {
  for await (const _ of t.subscribe('orders/#', { from: 'earliest', signal: stopping.signal })) orders++;
})();

async function shop(req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.setHeader('content-type', 'application/json');
  if (req.method === 'POST' && req.url === '/orders') {
    const order = await json(req).catch(() => undefined);
    if (order === undefined) res.writeHead(400).end('{"error":"an order is JSON"}');
    else res.writeHead(201).end(JSON.stringify(await t.publish('orders/created', order)));
  } else if (req.method === 'GET' && req.url === '/orders') {
    res.end(JSON.stringify({ orders }));
  } else {
    res.writeHead(404).end('{"error":"the shop has no such page"}');
  }
}

// Serves /v1 and hands on everything else; without a third argument it would answer 404 itself.
const server = createServer((req, res) => t.handler(req, res, () => void shop(req, res)));
server.on('upgrade', t.upgrade);
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`shop at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);

async function stop(): Promise<void> {
  server.close();
  stopping.abort();
  await counting;
  await t.close(); // tells streams when to come back, answers what is in flight, closes the log
}
