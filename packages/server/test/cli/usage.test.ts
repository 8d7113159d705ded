import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { catalogue } from '../../src/cli/catalogue.ts';
import { coloursFor } from '../../src/cli/colour.ts';
import { commandHelp } from '../../src/cli/help.ts';
import { settings } from '../../src/config/index.ts';
import { runCli } from './cli-process.ts';

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

describe('help', () => {
  test('names every command', async () => {
    const { code, stdout } = await runCli(['--help']);
    expect(code).toBe(0);
    for (const { name, summary } of catalogue) {
      expect(stdout).toContain(name);
      expect(stdout).toContain(summary);
    }
  });

  test('of each command has usage, examples that it would take, and exit codes', async () => {
    for (const entry of catalogue) {
      const command = await entry.load();
      expect(command.name).toBe(entry.name);
      expect(command.summary).toBe(entry.summary);
      const text = commandHelp(command, coloursFor({}));
      expect(text).toContain(`Usage: tailrace ${entry.name}`);
      const codes = text.slice(text.indexOf('Exit codes:')).replaceAll(/\s+/g, ' ');
      expect(codes).toMatch(/^Exit codes: 0 .+, 1 .+, 2 .+, 130 .*SIGINT.*, 143 .*SIGTERM/);
      expect(command.examples.length, entry.name).toBeGreaterThan(0);
      for (const name of Object.keys(command.options)) expect(text).toContain(`--${name}`);
      for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
    }
  });

  test('of serve has every setting with its default', async () => {
    const { code, stdout } = await runCli(['serve', '--help']);
    expect(code).toBe(0);
    for (const { name, shown } of settings) {
      expect(stdout).toContain(`--${name}`);
      expect(stdout.replaceAll(/\s+/g, ' ')).toContain(`Default ${shown}`);
    }
  });

  test.each([[['pub', '--help']], [['pub', '-h']], [['help', 'pub']], [['pub', 'a', 'b', 'c', '--help']]])(
    '%j is the help of pub',
    async args => {
      const { code, stdout } = await runCli(args);
      expect(code).toBe(0);
      expect(stdout).toContain('Usage: tailrace pub <topic> [data]');
    },
  );

  test.each([[['log', '--help']], [['log', '-h']], [['help', 'log']]])('%j is the help of its commands', async args => {
    const { code, stdout, stderr } = await runCli(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('Usage: tailrace log <command>');
    const members = catalogue.filter(({ name }) => name.startsWith('log '));
    for (const { name, summary } of members) expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}`, 'm'));
    expect(stdout.split('\n').filter(line => line.startsWith('  '))).toHaveLength(members.length);
  });

  test('is named to who leaves the second word out', async () => {
    expect((await runCli(['log'])).stderr).toContain('Try: tailrace log --help\n');
  });

  test('--version', async () => {
    expect(await runCli(['--version'])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
  });
});

describe('wrong usage is exit code 2 and says what is right', () => {
  test.each([
    [['pbu', 'a'], 'there is no command "pbu"'],
    [['serv'], 'there is no command "serv"; did you mean "serve"?'],
    [['log'], 'tailrace log needs one of: verify, dump, repair'],
    [['sub'], 'an argument is missing: tailrace sub <filter>…'],
    [['sub', 'a', '--form', 'now'], 'tailrace sub has no option --form; did you mean "--from"?'],
    [['sub', 'a', '--from'], '--from needs a value: --from <where>'],
    [['sub', 'a', '--from', '--json'], '--from needs a value'],
    [['sub', 'a', '--from', 'now', '--from', 'last'], '--from may be given once'],
    [['sub', 'a', '--count', 'x'], '--count is "x", not a whole number from 1 on'],
    [['sub', 'a', '--json=1'], '--json is a switch and takes no value, not "1"'],
    [['sub', 'a', '--json', '--raw'], '--json and --raw exclude each other'],
    [['sub', 'a/#/b'], '"#" stands for all the rest'],
    [['sub', 'a', '--url', 'nonsense'], '"nonsense" is no URL'],
    [['sub', 'a', '--url', 'ftp://x'], 'is not an http: or https: URL'],
    [['pub', 'a', 'b', 'c'], '"c" is one argument too many'],
    [['pub'], 'a topic is missing'],
    [['pub', 'a/+'], '"+" is a wildcard'],
    [['pub', 'a', 'x', '--durability', 'y'], '--durability is "y", not one of fsync, written, none'],
    [['pub', 'a', '--id', 'x'], '--id is about one message'],
    [['pub', 'a', '--key', 'k', '--expect', '3'], '--expect is about one message'],
    [['pub', 'a', '1', '--expect', '3'], '--expect is about the newest record of a key: give --key too'],
    [['pub', 'a', '1', '--key', 'k', '--expect', '0'], '--expect is "0", not the offset of a record, nor absent'],
    [['pub', '--ndjson', '--expect', '1'], '--expect does not go with --ndjson'],
    [['pub', 'a', '--ndjson'], 'each line names its topic'],
    [['pub', '--ndjson', '--key', 'x'], '--key does not go with --ndjson'],
    [['replay', 'a', '--order', 'up'], '--order is "up", not oldest or newest'],
    [['serve', '--lag.limt', '1s'], 'tailrace serve has no option --lag.limt; did you mean "--lag.limit"?'],
    [['serve', 'now'], '"now" is one argument too many'],
  ])('%j: %s', async (args, message) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});

describe('failure is exit code 1', () => {
  test.each([[['pub', 'a', 'x']], [['sub', 'a']], [['replay', 'a']]])('%j without a server', async args => {
    const { code, stderr } = await runCli(args, { env: { TAILRACE_URL: 'http://127.0.0.1:1' } });
    expect(stderr).toBe('tailrace: no server answers at http://127.0.0.1:1; start one with: tailrace serve\n');
    expect(code).toBe(1);
  });

  test('also when lines wait to be published', async () => {
    const { code, stderr } = await runCli(['pub', 'a'], { env: { TAILRACE_URL: 'http://127.0.0.1:1' }, input: 'x\n' });
    expect(stderr).toContain('no server answers');
    expect(code).toBe(1);
  });

  test('serve with settings that cannot be used lists them all', async () => {
    const { code, stderr } = await runCli(['serve', '--port', '70000', '--host', '0.0.0.0'], {
      env: { TAILRACE_HEARTBEAT: 'x' },
    });
    expect(stderr).toContain('--port: port is 70000, not a whole number from 0 to 65535');
    expect(stderr).toContain('TAILRACE_HEARTBEAT: heartbeat is "x", not a duration');
    expect(code).toBe(1);
  });
});

describe('colours', () => {
  const terminal = { isTTY: true, getColorDepth: () => 8 };

  test('are for terminals, and not for those who set NO_COLOR', () => {
    expect(coloursFor(terminal, {}).red('x')).toBe('\u001b[31mx\u001b[39m');
    expect(coloursFor(terminal, { NO_COLOR: '1' }).red('x')).toBe('x');
    expect(coloursFor(terminal, { NO_COLOR: '' }).red('x')).toBe('\u001b[31mx\u001b[39m');
    expect(coloursFor(terminal, { TERM: 'dumb' }).red('x')).toBe('x');
    expect(coloursFor({}, {}).red('x')).toBe('x');
  });

  test('do not reach a pipe', async () => {
    const { stdout } = await runCli(['--help'], { env: { TERM: 'xterm-256color' } });
    expect(stdout).not.toContain('\u001b');
  });
});
