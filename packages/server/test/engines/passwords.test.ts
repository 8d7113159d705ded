import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CliProcess, runCli } from '../cli/cli-process.ts';
import { freePort } from '../cli/served.ts';
import { afterwards, startNode, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

const secret = 'zSEcReTz';

async function told(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { stdout, stderr } = await runCli(args, { env });
  return stdout + stderr;
}

test('no command shows the password of an engine, whatever is wrong with its URL', async () => {
  const urls = [
    `redis://u:${secret}@127.0.0.1:1/2`,
    `redis://u:${secret}/@@127.0.0.1:1`,
    `redi://u:${secret}@127.0.0.1:1`,
    `kafka:u:${secret}@127.0.0.1:1`,
    `nats://${secret}@127.0.0.1:x`,
    `redis://127.0.0.1:1?password=${secret}`,
  ];
  const directory = mkdtempSync(join(tmpdir(), 'tailrace-passwords-'));
  afterwards(async () => rmSync(directory, { recursive: true }));
  const file = join(directory, 'tailrace.yaml');
  const [engine = '', faulty = ''] = urls;
  writeFileSync(file, JSON.stringify({ engine: faulty }));
  const all = [
    ...urls.map(url => told(['check', '--engine', url])),
    ...[engine, faulty].map(url => told(['check', '--json'], { TAILRACE_ENGINE: url })),
    told(['check', '--config', file]),
    told(['serve', engine]),
    told([engine]),
    told(['serve', '--host', engine]),
  ];
  for (const text of await Promise.all(all)) expect(text).not.toContain(secret);
  const printed = await told(['check', '--print', '--engine', engine]);
  expect(printed).toMatch(/^# engine is shown without its user and password/);
  expect(printed).toContain('\nengine: redis://127.0.0.1:1/2\n');
}, 60_000);

test('a server that cannot be reached is named without the password', async () => {
  const port = await freePort();
  await Promise.all(
    ['redis', 'redis+sentinel', 'redis+cluster', 'kafka', 'nats'].map(async scheme => {
      const engine = `${scheme}://u:${secret}@127.0.0.1:${port}${scheme === 'redis+sentinel' ? '/main' : ''}`;
      await using served = new CliProcess(['serve', '--port', '0', '--engine', engine]);
      expect(await served.ended()).toBe(1);
      expect(served.stderr).toContain(`127.0.0.1:${port}`);
      expect(served.stdout + served.stderr).not.toContain(secret);
    }),
  );
}, 60_000);

withRedis('a server with a password', () => {
  test('it stands in no log line, no metric and no answer, also while Redis is away or lets nobody in', async () => {
    const redis = await startRedis('--requirepass', secret);
    const node = await startNode(`redis://default:${secret}@127.0.0.1:${redis.port}`);
    const told: string[] = [];
    const ask = async (path: string): Promise<void> => {
      const answer = await fetch(`${node.url}${path}`);
      told.push(`${path} ${JSON.stringify([...answer.headers])} ${await answer.text()}`);
    };
    const askAll = async (): Promise<void> => {
      for (const path of ['/metrics', '/healthz', '/readyz', '/v1/nodes', '/v1/openapi.json', '/']) await ask(path);
    };
    await askAll();
    await redis.stop('SIGKILL');
    await node.process.until(() => node.process.stderr.includes('engine_lost'));
    await askAll();
    await redis.start('--requirepass', 'another');
    await node.process.until(() => node.process.stderr.includes('engine_isolated'));
    await askAll();
    expect(told.join('\n')).not.toContain(secret);
    expect(node.process.stdout + node.process.stderr).not.toContain(secret);
    const refused = await runCli(['serve', '--port', '0', '--engine', `redis://u:${secret}@127.0.0.1:${redis.port}`]);
    expect(refused.stderr).toContain('WRONGPASS');
    expect(refused.stderr).not.toContain(secret);
  }, 60_000);
});
