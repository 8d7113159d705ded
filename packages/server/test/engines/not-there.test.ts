import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { CliProcess } from '../cli/cli-process.ts';
import { freePort } from '../cli/served.ts';

test('a server that is not there, or is silent, is named, and the process ends', async () => {
  const silent = createServer(socket => socket.on('error', () => {}));
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as { port: number };
  const urls = ['redis', 'redis+cluster', 'kafka', 'nats'].map(scheme => `${scheme}://127.0.0.1`);
  const closed = await freePort();
  await Promise.all(
    urls.flatMap(url =>
      [closed, port].map(async at => {
        await using served = new CliProcess(['serve', '--port', '0', '--engine', `${url}:${at}`]);
        expect(await served.ended(), `${url}:${at}`).toBe(1);
        expect(served.stderr).toContain(`at ${url}:${at} does not serve it: `);
        expect(served.stderr.trim()).not.toMatch(/does not serve it:$/);
      }),
    ),
  );
  silent.close();
}, 60_000);
