import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { defaultConfig } from '../../src/config/index.ts';
import { runCli } from './cli-process.ts';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'tailrace-check-'));
});
afterAll(() => rmSync(cwd, { recursive: true }));

test('fine settings', async () => {
  expect(await runCli(['check'], { cwd })).toEqual({
    code: 0,
    stdout: 'the settings are fine (no settings file)\n',
    stderr: '',
  });
});

test('each problem is one line with source and path', async () => {
  const file = join(cwd, 'bad.yaml');
  writeFileSync(file, 'lag:\n  target: 1s\nrules:\n  - filter: a\n');
  const { code, stdout, stderr } = await runCli(['check', '--config', file], { cwd });
  expect(stderr.split('\n')).toEqual([
    `error: ${file}: lag.target is 1s and must be shorter than lag.limit, 200ms`,
    `warning: ${file}: rules[0] for "a" sets nothing: give it durability, lag, keep or spool`,
    '',
  ]);
  expect(stdout).toBe('');
  expect(code).toBe(1);
});

test('a rule that asks for more than the engine can keep is warned of', async () => {
  const rules = '[{"filter":"a","durability":"written"},{"filter":"b","durability":"none"}]';
  const { code, stderr } = await runCli(['check', '--engine', 'memory', '--rules', rules], { cwd });
  expect(stderr).toMatch(/^warning: .*rules\[0\] for "a" has durability written, which engine memory cannot keep.*\n$/);
  expect(code).toBe(0);
});

test('an unknown setting is met with the names that may stand there', async () => {
  const file = join(cwd, 'unknown.yaml');
  writeFileSync(file, 'rules:\n  - filter: a\n    policy: last\n');
  const { code, stderr } = await runCli(['check', '--config', file], { cwd });
  expect(stderr).toBe(
    `error: ${file}: there is no setting rules[0].policy; known are filter, durability, lag, keep, spool\n`,
  );
  expect(code).toBe(1);
});

test('--print is a settings file that means the same', async () => {
  const { stdout } = await runCli(
    ['check', '--print', '--heartbeat', '12s', '--rules', '[{"filter":"a","durability":"none"}]'],
    {
      cwd,
    },
  );
  expect(stdout).toContain('heartbeat: 12s\n');
  const file = join(cwd, 'printed.yaml');
  writeFileSync(file, stdout);
  const { code, stdout: json } = await runCli(['check', '--json', '--config', file], { cwd });
  expect(code).toBe(0);
  expect(JSON.parse(json)).toEqual({
    problems: [],
    file,
    config: { ...defaultConfig(), heartbeat: 12_000, rules: [{ filter: 'a', durability: 'none' }] },
  });
});

test('./tailrace.yaml is read when nothing else is named', async () => {
  writeFileSync(join(cwd, 'tailrace.yaml'), 'port: 4999\n');
  const { stdout } = await runCli(['check', '--json'], { cwd });
  expect(JSON.parse(stdout)).toMatchObject({ file: './tailrace.yaml', config: { port: 4999 } });
});

test('--json tells problems to programs', async () => {
  const { code, stdout } = await runCli(['check', '--json', '--port', 'x'], { cwd });
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    problems: [{ severity: 'error', path: 'port', source: '--port' }],
    config: null,
  });
});
