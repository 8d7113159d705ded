// npm start: serves the page that shows and edits the stock, and runs a shop that sells from it.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Shop } from './shop.ts';

const tailrace = process.env.TAILRACE_URL ?? 'http://127.0.0.1:4080';
const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
const files = new Map(
  ['index.html', 'page.css', 'page.js', 'stock.js', 'icon.svg'].map(name => {
    const type = types[name.slice(name.lastIndexOf('.') + 1) as keyof typeof types];
    return [
      `/${name === 'index.html' ? '' : name}`,
      { type, body: readFileSync(new URL(`page/${name}`, import.meta.url)) },
    ];
  }),
);
files.set('/config.json', { type: 'application/json', body: Buffer.from(JSON.stringify({ tailrace })) });

const server = createServer((req, res) => {
  const file = files.get(req.url?.split('?')[0] ?? '');
  if (file === undefined) res.writeHead(404).end();
  else res.writeHead(200, { 'content-type': file.type, 'cache-control': 'no-cache' }).end(file.body);
});

const shop = new Shop(tailrace);
server.listen(Number(process.env.PORT ?? 4082), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`inventory at http://127.0.0.1:${port}/, kept by ${tailrace}`);
});

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
let stopping: Promise<void> | undefined;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (stopping ??= stop()));

async function stop(): Promise<void> {
  server.close();
  server.closeAllConnections();
  const { sold, retried } = await shop.stop();
  console.log(`${sold} sold, ${retried} tried again since somebody else was faster`);
}
