// A shop's own Fastify app with Tailrace inside: /v1 is Tailrace's, the rest is the shop's.
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import { createTailrace } from 'tailrace';

const t = await createTailrace({ data: './data' });

// The shop is a subscriber too: it counts its orders from the log, so the count survives a restart.
let orders = 0;
const stopping = new AbortController();
const counting = (async () => {
  for await (const _ of t.subscribe('orders/#', { from: 'earliest', signal: stopping.signal })) orders++;
})();

const app = fastify();
// In `onRequest`, before Fastify reads the body; hijacked, so that Fastify leaves the response alone.
for (const path of ['/v1', '/v1/*']) {
  app.all(
    path,
    {
      onRequest: async (request, reply) => {
        reply.hijack();
        t.handler(request.raw, reply.raw);
      },
    },
    () => {},
  );
}
app.server.on('upgrade', t.upgrade);

app.post('/orders', async (request, reply) => {
  reply.status(201);
  return t.publish('orders/created', request.body);
});
app.get('/orders', () => ({ orders }));

await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
console.log(`shop at http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);

async function stop(): Promise<void> {
  stopping.abort();
  await counting;
  await t.close(); // tells streams when to come back, answers what is in flight, closes the log
  await app.close();
}
