import { expect, test } from 'vitest';
import { runCli } from '../cli/cli-process.ts';
import { until } from '../log/messages.ts';
import { afterwards, startNode, startRedis } from './for-one-test.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

async function startSentinel(primary: RedisServer): Promise<RedisServer> {
  const sentinel = await RedisServer.sentinel(primary.port);
  afterwards(() => sentinel.stop('SIGKILL'));
  return sentinel;
}

withRedis('Sentinels', () => {
  test('that know the primary by another name are told of at once, with the names they know', async () => {
    const sentinel = await startSentinel(await startRedis());
    const url = `redis+sentinel://127.0.0.1:${sentinel.port},127.0.0.1:1/mymaster`;
    const { code, stderr } = await runCli(['serve', '--port', '0', '--engine', url]);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `tailrace: the log cannot be opened: Redis at ${url} does not serve it: its Sentinels know no primary "mymaster": ` +
        'they know main, and its name follows the servers in the URL, …/main\n',
    );
  });

  test('that come and go cost no line but ours, one for each trouble', async () => {
    const primary = await startRedis();
    const [one, other] = [await startSentinel(primary), await startSentinel(primary)];
    const node = await startNode(`redis+sentinel://127.0.0.1:${one.port},127.0.0.1:${other.port}/main`);
    const { process } = node;
    await other.stop('SIGKILL');
    await until('it answers', async () => (await fetch(`${node.url}/readyz`)).ok);
    await primary.stop('SIGKILL');
    await process.until(() => process.stderr.includes('engine_lost'));
    await one.stop('SIGKILL');
    await process.until(() => process.stderr.includes('engine_isolated'));
    await primary.start();
    await node.kill('SIGTERM');
    const kinds = process.stderr
      .trim()
      .split('\n')
      .map(line => (JSON.parse(line) as { kind: string }).kind);
    // slow first, when a probe was under way
    expect(kinds.filter(kind => kind !== 'engine_degraded')).toEqual(['engine_lost', 'engine_isolated']);
  }, 60_000);
});
