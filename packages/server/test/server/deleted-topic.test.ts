import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../cli/cli-process.ts';
import { Served } from '../cli/served.ts';

const secret = 'never-to-be-seen-again';

/** Files of the data directory in which the text stands. */
function grep(served: Served, text: string): string[] {
  const data = join(served.directory, 'data');
  return readdirSync(data, { withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(({ name }) => name)
    .filter(name => {
      try {
        return readFileSync(join(data, name)).includes(text);
      } catch (error) {
        // it went while this looked
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw error;
      }
    });
}

/** Messages of two topics in turn. The ids of the one that is deleted are the same each round. */
async function publish(served: Served, round: number, count: number): Promise<void> {
  const filling = '.'.repeat(300);
  const lines = Array.from({ length: count / 2 }, (_, i) => [
    JSON.stringify({ topic: 'customers/4711', id: `${secret} ${i}`, data: `${secret} ${filling}` }),
    JSON.stringify({ topic: 'others', id: `${round} ${i}`, data: `stays ${filling}` }),
  ]);
  const response = await fetch(`${served.url}/v1/publish`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.flat().join('\n'),
  });
  expect(await response.text()).toContain('"done":true');
}

const replayed = async (served: Served): Promise<string[]> =>
  (await (await fetch(`${served.url}/v1/log?filter=%23`)).text()).trim().split('\n');

test('a topic deleted over HTTP is gone at once, and from the files although the server is killed in the midst', async () => {
  await using served = await Served.start(['--log.level', 'silent', '--segment.bytes', '1MiB']);
  let killedWithBytes = 0;
  for (let round = 0; round < 5; round++) {
    await publish(served, round, 6000);
    expect(grep(served, secret).length).toBeGreaterThan(0);
    const answer = await fetch(`${served.url}/v1/topics/customers/4711`, { method: 'DELETE' });
    expect(answer.status).toBe(202);
    const { cursor, offset, pending } = (await answer.json()) as { cursor: string; offset: number; pending: boolean };
    expect([offset, pending]).toEqual([(round + 1) * 6000 - 1, true]);
    await served.kill('SIGKILL');
    if (grep(served, secret).length > 0) killedWithBytes++;
    await served.startAgain();
    const lines = await replayed(served);
    expect(lines.filter(line => line.includes(secret))).toEqual([]);
    expect(lines.length - 1).toBe((round + 1) * 3000);
    const poll = async (at: string): Promise<{ notices: { type: string }[] }> =>
      (await (await fetch(`${served.url}/v1/poll?filter=customers/%2B&wait=0&cursor=${at}`)).json()) as never;
    expect((await poll(cursor)).notices).toEqual([]);
    const before = cursor.replace(`.${offset}.`, `.${offset - 1}.`);
    expect((await poll(before)).notices).toMatchObject([{ type: 'gap', reason: 'trimmed' }]);
    while (grep(served, secret).length > 0) await fetch(`${served.url}/healthz`);
    for (let pendingLine = ''; !pendingLine.endsWith(' 0'); )
      pendingLine = /^tailrace_log_deletions_pending .*$/m.exec(
        await (await fetch(`${served.url}/metrics`)).text(),
      )![0];
  }
  expect(killedWithBytes).toBeGreaterThan(0);
}, 60_000);

test('a request to delete may say a type without a body; topics of the server are not to be deleted', async () => {
  await using served = await Served.start(['--log.level', 'silent']);
  const headers = { 'Content-Type': 'application/json' };
  await fetch(`${served.url}/v1/topics/a`, { method: 'POST', body: '1', headers });
  const answer = await fetch(`${served.url}/v1/topics/a`, { method: 'DELETE', headers });
  expect([answer.status, await answer.json()]).toMatchObject([202, { topic: 'a', offset: 1 }]);
  const refused = await fetch(`${served.url}/v1/topics/$sys`, { method: 'DELETE' });
  expect([refused.status, await refused.json()]).toMatchObject([403, { code: 'publish_forbidden' }]);
});

test('tailrace topics delete', async () => {
  await using served = await Served.start(['--log.level', 'silent']);
  const run = (...args: string[]): ReturnType<typeof runCli> =>
    runCli(['topics', 'delete', ...args], { env: served.env });
  await runCli(['pub', 'a b/ü', '1'], { env: served.env });
  expect(await run('a b/ü')).toMatchObject({
    code: 0,
    stdout: 'a b/ü is deleted up to offset 1; its bytes are on their way out of the files\n',
  });
  expect(await run('none')).toMatchObject({ code: 0, stdout: 'none holds nothing\n' });
  expect(JSON.parse((await run('none', '--json')).stdout)).toEqual({ topic: 'none', pending: false });
  const refused = await run('a/#');
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('"#" is a wildcard')]);
});
