// A shop's own Express app with Tailrace inside: /v1 is Tailrace's, the rest is the shop's.
import type { AddressInfo } from 'node:net';
import express from 'express';
import { createTailrace } from 'tailrace';

const t = await createTailrace({ data: './data' });

// The shop is a subscriber too: it counts its orders from the log, so the count survives a restart.
let orders = 0;
const stopping = new AbortController();
const counting = (async () => {
  for await (const _ of t.subscribe('orders/#', { from: 'earliest', signal: stopping.signal })) orders++;
})();

const app = express();
// Serves /v1 and calls next() for everything else. Before the body parsers: they would read what is published.
app.use(t.handler);
app.use(express.json());

app.post('/orders', async (req, res) => {
  res.status(201).json(await t.publish('orders/created', req.body));
});
app.get('/orders', (_req, res) => {
  res.json({ orders });
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`shop at http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
server.on('upgrade', t.upgrade);

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);

async function stop(): Promise<void> {
  server.close();
  stopping.abort();
  await counting;
  await t.close(); // tells streams when to come back, answers what is in flight, closes the log
}
