import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { Served } from '../../packages/server/test/cli/served.ts';
import { RedisServer } from '../../packages/server/test/engines/redis-server.ts';
import { withRedis } from '../../packages/server/test/engines/with-redis.ts';
import { SseClient } from '../../packages/server/test/gateway/sse-client.ts';

interface Service {
  readonly command: readonly string[];
  readonly healthcheck: { readonly test: readonly string[] };
}

const root = join(import.meta.dirname, '../..');
const { services } = parse(readFileSync(join(root, 'deploy/compose.yaml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>;
};

test('what the image copies is there, and what it starts is the server', () => {
  const steps = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8').split('\n');
  for (const step of steps.filter(line => line.startsWith('COPY'))) {
    const sources = step.split(' ').slice(1, -1);
    for (const source of sources) expect(existsSync(join(root, source)), source).toBe(true);
  }
  const workspaces = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { workspaces: string[] })
    .workspaces;
  const copied = steps.join('\n');
  for (const workspace of workspaces) expect(copied).toContain(`COPY ${workspace.replace('/*', '')}`);
  const entry = steps.find(line => line.startsWith('ENTRYPOINT'))!;
  const [, script] = JSON.parse(entry.slice('ENTRYPOINT '.length)) as string[];
  const { bin } = JSON.parse(readFileSync(join(root, 'packages/server/package.json'), 'utf8')) as {
    bin: { tailrace: string };
  };
  expect(script).toBe(`packages/server/${bin.tailrace}`);
});

withRedis('the servers of deploy/compose.yaml, as processes of this machine', () => {
  test('share one log on the Redis that it describes, and pass its health checks', async () => {
    const [, ...options] = services.redis!.command;
    await using cleanup = new AsyncDisposableStack();
    const redis = await RedisServer.start(...options);
    cleanup.defer(() => redis.stop());
    const start = async ({ command }: Service): Promise<Served> => {
      const [serve, ...flags] = command.map(word => word.replace('redis://redis:6379', redis.url));
      expect(serve).toBe('serve');
      return cleanup.use(await Served.start(flags));
    };
    const a = await start(services['node-a']!);
    const b = await start(services['node-b']!);
    const client = await SseClient.open(b.port, 'filter=chat/%2B&raw=1');
    const published = await fetch(`${a.url}/v1/topics/chat/7`, { method: 'POST', body: 'hello' });
    expect(published.status).toBe(200);
    await client.count(1);
    expect(client.messages[0]!.data).toBe('hello');
    const check = services['node-a']!.healthcheck.test.at(-1)!;
    const [, path] = /127\.0\.0\.1:4080(\/\w+)/.exec(check)!;
    expect((await fetch(`${b.url}${path}`)).status).toBe(200);
  });
});
