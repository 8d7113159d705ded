import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliResult, runCli } from './cli-process.ts';
import { Served } from './served.ts';

let served: Served;
beforeAll(async () => {
  served = await Served.start();
  const lines = Array.from({ length: 10 }, (_, i) => `{"topic":"news/${i % 2}","data":${i}}\n`).join('');
  await runCli(['pub', '--ndjson'], { env: served.env, input: lines });
});
afterAll(async () => {
  await served[Symbol.asyncDispose]();
});

const replay = (...args: string[]): Promise<CliResult> => runCli(['replay', ...args], { env: served.env });
const printed = ({ stdout }: CliResult): string[] => stdout.split('\n').slice(0, -1);

test('prints what there is and ends', async () => {
  const result = await replay('news/#');
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(printed(result)).toEqual(Array.from({ length: 10 }, (_, i) => `news/${i % 2} ${i}`));
});

test('--from and --to', async () => {
  expect(printed(await replay('news/#', '--from', '@3', '--to', '@5', '--raw'))).toEqual(['2', '3', '4']);
});

test('--order newest --limit pages back, and says how to go on', async () => {
  const first = await replay('news/1', '--order', 'newest', '--limit', '2');
  expect(printed(first)).toEqual(['news/1 9', 'news/1 7']);
  const to = /there is more before: --order newest --to (\S+)/.exec(first.stderr)![1]!;
  const second = await replay('news/1', '--order', 'newest', '--limit', '2', '--to', to);
  expect(printed(second)).toEqual(['news/1 5', 'news/1 3']);
});

test('--limit from the oldest on says how to go on', async () => {
  const first = await replay('news/0', '--limit', '3');
  expect(printed(first)).toEqual(['news/0 0', 'news/0 2', 'news/0 4']);
  const from = /there is more: --from (\S+)/.exec(first.stderr)![1]!;
  const second = await replay('news/0', '--from', from);
  expect(printed(second)).toEqual(['news/0 6', 'news/0 8']);
  expect(second.stderr).toBe('');
});

test('--json is the answer as it came', async () => {
  const lines = printed(await replay('news/1', '--json')).map(line => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(6);
  expect(lines[0]).toMatchObject({ topic: 'news/1', offset: 2, data: 1, time: expect.any(Number) });
  expect(lines[5]).toMatchObject({ done: true, cursor: expect.any(String) });
});

test.each([
  [['news/#', '--from', 'tomorrow'], /\(cursor_invalid\)/],
  [['news/#', '--to', 'tomorrow'], /\(cursor_invalid\)/],
])('%j is refused', async (args, message) => {
  const { code, stderr } = await replay(...args);
  expect(stderr).toMatch(message);
  expect(code).toBe(1);
});
