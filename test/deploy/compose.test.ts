import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { freePort, Served } from '../../packages/server/test/cli/served.ts';
import { KafkaServer } from '../../packages/server/test/engines/kafka-server.ts';
import { NatsServer } from '../../packages/server/test/engines/nats-server.ts';
import { RedisServer } from '../../packages/server/test/engines/redis-server.ts';
import { withKafka } from '../../packages/server/test/engines/with-kafka.ts';
import { withNats } from '../../packages/server/test/engines/with-nats.ts';
import { withRedis } from '../../packages/server/test/engines/with-redis.ts';
import { SseClient } from '../../packages/server/test/gateway/sse-client.ts';

interface Service {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly configs?: Readonly<Record<string, { readonly content: string }>>;
}

const root = join(import.meta.dirname, '../..');

function read(file: string): Compose {
  return parse(readFileSync(join(root, 'deploy', file), 'utf8'), { merge: true }) as Compose;
}

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

/** The servers of the file, as processes of this machine: `inside` is the address of what they share, `url` what it is here. */
async function expectOneLog({ services }: Compose, inside: string, url: string): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const start = async ({ command }: Service): Promise<Served> => {
    expect(command).toContain(inside);
    const [serve, ...flags] = command.map(word => word.replace(inside, url));
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
}

withRedis('the servers of deploy/compose.yaml, as processes of this machine', () => {
  test('share one log on the Redis that it describes, and pass its health checks', async () => {
    const compose = read('compose.yaml');
    const [, ...options] = compose.services.redis!.command;
    await using cleanup = new AsyncDisposableStack();
    const redis = await RedisServer.start(...options);
    cleanup.defer(() => redis.stop());
    await expectOneLog(compose, 'redis://redis:6379', redis.url);
  });
});

/** Where things are differs in a container, and is the test's to say. */
const places = /^(node\.id|process\.roles|controller\.|listeners|advertised\.|listener\.|log\.dirs)/;

withKafka('the servers of deploy/compose-kafka.yaml, as processes of this machine', () => {
  test('share one log on the Kafka that it describes, and pass its health checks', async () => {
    const compose = read('compose-kafka.yaml');
    const properties = Object.entries(compose.services.kafka!.environment!).map(
      ([name, value]) => [name.replace('KAFKA_', '').replaceAll('_', '.').toLowerCase(), value] as const,
    );
    const kept = Object.fromEntries(properties.filter(([name]) => !places.test(name)));
    expect(kept).toHaveProperty(['log.flush.interval.messages'], '1');
    await using cleanup = new AsyncDisposableStack();
    const kafka = await KafkaServer.start({ properties: kept });
    cleanup.defer(() => kafka.stop('SIGKILL'));
    await expectOneLog(compose, 'kafka://kafka:9092', kafka.url);
  });
});

withNats('the servers of deploy/compose-nats.yaml, as processes of this machine', () => {
  test('share one log on the NATS that it describes, and pass its health checks', async () => {
    const compose = read('compose-nats.yaml');
    const { content } = compose.configs!.nats!;
    const [monitor, ...lines] = content.trim().split('\n');
    const port = await freePort();
    expect(compose.services.nats!.healthcheck.test.at(-1)).toContain(monitor!.replace('http: ', '127.0.0.1:'));
    await using cleanup = new AsyncDisposableStack();
    const nats = await NatsServer.start(`http: "127.0.0.1:${port}"`, store =>
      lines.join('\n').replace('/data', `"${store}"`),
    );
    cleanup.defer(() => nats.stop());
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    await expectOneLog(compose, 'nats://nats:4222', nats.url);
  });
});
