// A shop's own Hono app (on Node) with Tailrace inside: /v1 is Tailrace's, the rest is the shop's.
import { type HttpBindings, serve } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { createTailrace } from 'tailrace';

const t = await createTailrace({ data: './data' });

// The shop is a subscriber too: it counts its orders from the log, so the count survives a restart.
let orders = 0;
const stopping = new AbortController();
const counting = (async () => {
  for await (const _ of t.subscribe('orders/#', { from: 'earliest', signal: stopping.signal })) orders++;
})();

const app = new Hono<{ Bindings: HttpBindings }>();
app.all('/v1/*', c => {
  t.handler(c.env.incoming, c.env.outgoing);
  return RESPONSE_ALREADY_SENT;
});

app.post('/orders', async c => c.json(await t.publish('orders/created', await c.req.json()), 201));
app.get('/orders', c => c.json({ orders }));

const server = serve(
  { fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1' },
  ({ port }) => {
    console.log(`shop at http://127.0.0.1:${port}`);
  },
);
server.on('upgrade', t.upgrade);

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);

async function stop(): Promise<void> {
  server.close();
  stopping.abort();
  await counting;
  await t.close(); // tells streams when to come back, answers what is in flight, closes the log
}
