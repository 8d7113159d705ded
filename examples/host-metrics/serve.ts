// npm start: publishes this machine's figures and serves the page that draws them.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HostPublisher } from './publish.ts';

const tailrace = process.env.TAILRACE_URL ?? 'http://127.0.0.1:4080';
const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
const files = new Map(
  ['index.html', 'page.css', 'page.js', 'chart.js', 'icon.svg'].map(name => {
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

const publisher = new HostPublisher(tailrace);
server.listen(Number(process.env.PORT ?? 4081), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`host metrics at http://127.0.0.1:${port}/, published to ${tailrace}`);
});

// `on`, not `once`: npm passes a Ctrl-C on that has reached this process already
let stopping: Promise<void> | undefined;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (stopping ??= stop()));

async function stop(): Promise<void> {
  server.close();
  server.closeAllConnections();
  const { published, unsent } = await publisher.stop();
  console.log(`${published} ticks published, ${unsent} unsent`);
}
