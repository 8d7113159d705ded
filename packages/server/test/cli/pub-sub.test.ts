import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CliProcess, type CliResult, runCli } from './cli-process.ts';
import { Served } from './served.ts';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
});
afterAll(async () => {
  await served[Symbol.asyncDispose]();
});

const cli = (args: string[], input = ''): Promise<CliResult> => runCli(args, { env: served.env, input });
/** What a topic holds, as `sub` prints it. */
async function held(filter: string, count: number, ...options: string[]): Promise<string> {
  const result = await cli(['sub', filter, '--from', 'earliest', '--count', String(count), ...options]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return result.stdout;
}

describe('pub with data as an argument', () => {
  test('is JSON when it parses, else text', async () => {
    for (const data of ['{"a": [1, 2]}', '21.5', 'on time', '"quoted"'])
      expect(await cli(['pub', 'arg/kinds', data])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await held('arg/kinds', 4)).toBe(
      'arg/kinds {"a":[1,2]}\narg/kinds 21.5\narg/kinds on time\narg/kinds quoted\n',
    );
    expect(await held('arg/kinds', 4, '--raw')).toBe('{"a":[1,2]}\n21.5\non time\n"quoted"\n');
  });

  test('carries the fields of a message', async () => {
    const fields = ['--key', 'schlüssel', '--id', 'one', '--event', 'opened', '--durability', 'written'];
    const { stdout } = await cli(['pub', 'arg/fields', '<b>', '--content-type', 'text/html', '--json', ...fields]);
    expect(JSON.parse(stdout)).toEqual({ offset: expect.any(Number), cursor: expect.any(String), duplicate: false });
    expect(JSON.parse(await held('arg/fields', 1, '--json'))).toMatchObject({
      topic: 'arg/fields',
      key: 'schlüssel',
      id: 'one',
      event: 'opened',
      contentType: 'text/html',
      data: '<b>',
    });
    const again = await cli(['pub', 'arg/fields', 'other', '--id', 'one', '--json']);
    expect(JSON.parse(again.stdout)).toEqual({ ...JSON.parse(stdout), duplicate: true });
  });

  test('binary types go as bytes', async () => {
    await cli(['pub', 'arg/bytes', 'ä\nb', '--content-type', 'application/octet-stream']);
    expect(await held('arg/bytes', 1, '--raw')).toBe('ä\nb\n');
  });

  test.each([
    [
      'unknown',
      /^tailrace: away \(engine_unavailable\); the message may have been taken: publish it again with --id mine\n$/,
    ],
    ['none', /^tailrace: away \(engine_unavailable\)\n$/],
  ])('given up after an attempt whose outcome was %s, it says what that means', async (outcome, said) => {
    // as a server answers whose engine hangs first, and is known to be away then
    let asked = 0;
    const away = createServer((_req, res) => {
      const code = ++asked === 1 ? 'deadline_exceeded' : 'engine_unavailable';
      res.writeHead(503, { 'content-type': 'application/problem+json' });
      const told = { code, detail: 'away', retry: 'later', retryAfter: 1, outcome: asked === 1 ? outcome : 'none' };
      res.end(JSON.stringify({ ...told, title: code, status: 503 }));
    });
    await once(away.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(away.address() as AddressInfo).port}`;
    const result = await runCli(['pub', 'a', '1', '--id', 'mine', '--url', url]);
    away.close();
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(said) });
    expect(asked).toBe(8);
  });

  test('empty data with a key deletes the key', async () => {
    await cli(['pub', 'arg/keyed', '1', '--key', 'k']);
    await cli(['pub', 'arg/keyed', '', '--key', 'k']);
    expect(await held('arg/keyed', 2)).toBe('arg/keyed[k] 1\narg/keyed[k] (deleted)\n');
  });

  test('--expect publishes only if the newest record of the key is the one that it names', async () => {
    const pub = (data: string, ...options: string[]): Promise<CliResult> =>
      cli(['pub', 'arg/lock', data, '--key', 'door', ...options]);
    const first = await pub('"closed"', '--expect', 'absent', '--json');
    const { offset } = JSON.parse(first.stdout) as { offset: number };
    const refused = await pub('"open"', '--expect', 'absent');
    expect(refused.stdout).toBe('');
    const [told, current] = refused.stderr.trim().split('\n');
    expect(told).toMatch(
      new RegExp(
        `^tailrace: the publish expects no record as the newest .*; it is at offset ${offset} \\(expect_failed\\)$`,
      ),
    );
    expect(JSON.parse(current!.replace('current: ', ''))).toMatchObject({ topic: 'arg/lock', offset, data: 'closed' });
    expect(refused.code).toBe(3);
    expect(await pub('"open"', '--expect', String(offset))).toEqual({ code: 0, stdout: '', stderr: '' });
    await pub('');
    const gone = await pub('"shut"', '--expect', String(offset), '--json');
    expect(gone.code).toBe(3);
    expect(JSON.parse(gone.stdout)).toMatchObject({ code: 'expect_failed', status: 409, current: null });
    expect(gone.stderr).toMatch(/there is none \(expect_failed\)\n$/);
    expect(await held('arg/lock', 3)).toBe('arg/lock[door] closed\narg/lock[door] open\narg/lock[door] (deleted)\n');
  });

  test('what the server refuses is exit code 1 with its words', async () => {
    const { code, stderr } = await cli(['pub', '$sys/x', '1']);
    expect(stderr).toMatch(/^tailrace: .*first levels that begin with "\$".* \(publish_forbidden\)\n$/);
    expect(code).toBe(1);
  });
});

describe('pub from standard input', () => {
  test('each line is a message of text, in order, the last also without a line end', async () => {
    expect(await cli(['pub', 'lines/text'], 'one\r\n{"not":"json"}\n\nlast')).toMatchObject({ code: 0, stderr: '' });
    expect(await held('lines/text', 4)).toBe(
      'lines/text one\nlines/text {"not":"json"}\nlines/text \nlines/text last\n',
    );
  });

  test('--json-lines are values', async () => {
    await cli(['pub', 'lines/json', '--json-lines'], '{"a":1}\n\n[2]\n');
    expect(await held('lines/json', 2)).toBe('lines/json {"a":1}\nlines/json [2]\n');
    const bad = await cli(['pub', 'lines/json', '--json-lines'], '3\n{oops\n4\n');
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/line 2 is not JSON: .*; the 1 messages before it were published/);
    expect(await held('lines/json', 3)).toBe('lines/json {"a":1}\nlines/json [2]\nlines/json 3\n');
  });

  test('--ndjson are whole messages', async () => {
    const input = '{"topic":"lines/whole","data":{"x" : 1.10}}\n{"id":"mine","topic":"lines/whole","data":2}\n';
    const { stdout } = await cli(['pub', '--ndjson', '--json'], input);
    expect(JSON.parse(stdout)).toMatchObject({ accepted: 2, duplicates: 0, cursor: expect.any(String) });
    const [first, second] = (await held('lines/whole', 2, '--json'))
      .trim()
      .split('\n')
      .map(line => JSON.parse(line));
    expect(first).toMatchObject({ data: { x: 1.1 }, id: expect.stringMatching(/^[\w-]{12}-1$/) });
    expect(second).toMatchObject({ data: 2, id: 'mine' });
    const again = await cli(['pub', '--ndjson', '--json'], '{"id":"mine","topic":"lines/whole","data":2}\n');
    expect(JSON.parse(again.stdout)).toMatchObject({ accepted: 1, duplicates: 1 });
  });

  test('a message that the server refuses is named by its line, and those before it are kept', async () => {
    const { code, stderr } = await cli(
      ['pub', '--ndjson'],
      '{"topic":"lines/bad","data":1}\n{"topic":"a//b","data":2}\n',
    );
    expect(stderr).toMatch(/line 2: .*empty level.* \(topic_invalid\)/);
    expect(code).toBe(1);
    expect(await held('lines/bad', 1)).toBe('lines/bad 1\n');
  });

  test('a line is published while the next is not there yet', async () => {
    await using pub = new CliProcess(['pub', 'lines/live'], { env: served.env });
    await using sub = new CliProcess(['sub', 'lines/live', '--from', 'earliest'], { env: served.env });
    for (let i = 1; i <= 3; i++) {
      pub.write(`line ${i}\n`);
      await sub.lines(i);
    }
    pub.end();
    expect(await pub.ended()).toBe(0);
    expect(sub.stdout).toBe('lines/live line 1\nlines/live line 2\nlines/live line 3\n');
  });

  test('a refusal ends it although no further line comes', async () => {
    await using pub = new CliProcess(['pub', '--ndjson'], { env: served.env });
    pub.write('{"topic":"a//b","data":2}\n');
    expect(await pub.ended()).toBe(1);
  });

  test('many lines', async () => {
    const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i}`);
    const { code, stdout } = await cli(['pub', 'lines/many', '--json'], `${lines.join('\n')}\n`);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ accepted: 50_000, duplicates: 0 });
    expect((await held('lines/many', 50_000, '--raw')).split('\n')).toEqual([...lines, '']);
  });
});

describe('sub', () => {
  test('several filters make one subscription, in log order, each message once', async () => {
    await cli(['pub', '--ndjson'], [1, 2, 3].map(i => `{"topic":"several/${i}","data":${i}}\n`).join(''));
    const { stdout } = await cli(['sub', 'several/#', 'several/+', 'several/2', '--from', 'earliest', '--count', '3']);
    expect(stdout).toBe('several/1 1\nseveral/2 2\nseveral/3 3\n');
  });

  test('goes on after the cursor in its file', async () => {
    const file = join(served.directory, 'jobs.cursor');
    await cli(['pub', 'jobs/a', '--json-lines'], '1\n2\n3\n4\n5\n');
    const first = await cli(['sub', 'jobs/#', '--from', 'earliest', '--cursor-file', file, '--count', '2']);
    expect(first.stdout).toBe('jobs/a 1\njobs/a 2\n');
    const cursor = readFileSync(file, 'utf8');
    expect(cursor).toMatch(/^[A-Za-z0-9._-]+\n$/);
    const second = await cli(['sub', 'jobs/#', '--cursor-file', file, '--count', '3']);
    expect(second.stdout).toBe('jobs/a 3\njobs/a 4\njobs/a 5\n');
    expect(readFileSync(file, 'utf8')).not.toBe(cursor);
    const third = await cli(['sub', 'jobs/#', '--cursor', cursor.trim(), '--count', '1']);
    expect(third.stdout).toBe('jobs/a 3\n');
  });

  test('ends when its topic has ended', async () => {
    await cli(['pub', '--ndjson'], '{"topic":"ending","data":1}\n{"topic":"ending","data":"bye","end":true}\n');
    const { code, stdout, stderr } = await cli(['sub', 'ending', '--from', 'earliest']);
    expect(stdout).toBe('ending 1\nending bye\n');
    expect(stderr).toBe('tailrace: ending has ended\n');
    expect(code).toBe(0);
  });

  test('a cursor that does not fit is told on standard error', async () => {
    await cli(['pub', 'reset/a', '1']);
    await using sub = new CliProcess(['sub', 'reset/a', '--cursor', 'kfake.1.99999.abc', '--from', 'earliest'], {
      env: served.env,
    });
    await sub.until(() => sub.stderr.includes('reset: the cursor does not fit'));
    await sub.lines(1);
  });

  test.each([
    [['sub', 'a', '--from', 'tomorrow'], /from="tomorrow".* \(cursor_invalid\)/],
    [['sub', 'a', '--cursor', 'no cursor'], /cursor_invalid/],
  ])('%j is refused for good', async (args, message) => {
    const { code, stderr } = await cli(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends by %s as its help says', async (signal, code) => {
    await using sub = new CliProcess(['sub', 'sub/signal', '--from', 'earliest'], { env: served.env });
    await cli(['pub', 'sub/signal', '1']);
    await sub.lines(1);
    sub.kill(signal);
    const ended = await sub.ended();
    // a shell adds 128 to the number of the signal that ended a process
    expect(typeof ended === 'number' ? ended : 128 + constants.signals[ended]).toBe(code);
  });

  test('ends quietly when nobody reads it any more', async () => {
    await cli(['pub', 'pipe/a', '1']);
    await using sub = new CliProcess(['sub', 'pipe/a', '--from', 'earliest'], { env: served.env });
    await sub.lines(1);
    sub.child.stdout!.destroy();
    await cli(['pub', 'pipe/a', '2']);
    expect(await sub.ended()).toBe(0);
    expect(sub.stderr).toBe('');
  });
});
