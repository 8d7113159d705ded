import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LoadedConfig, loadConfig } from '../../src/config/index.ts';

let directory: string;
let files = 0;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tailrace-config-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function fileWith(text: string): string {
  const path = join(directory, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

const told = ({ problems }: LoadedConfig): string[] => problems.map(({ source, message }) => `${source}: ${message}`);

describe('three spellings', () => {
  test('flags win over variables, variables over the file, the file over defaults', () => {
    const file = fileWith('port: 1\nheartbeat: 6s\nlag:\n  target: 1ms\nhost: 127.0.0.2\n');
    const { config, problems } = loadConfig({
      file,
      env: { TAILRACE_PORT: '2', TAILRACE_HEARTBEAT: '7s', TAILRACE_LAG_LIMIT: '150', PATH: '/bin' },
      flags: { port: '3' },
    });
    expect(problems).toEqual([]);
    expect(config).toMatchObject({ port: 3, heartbeat: 7000, host: '127.0.0.2', lag: { target: 1, limit: 150 } });
  });

  test('texts of flags and variables become what the setting is', () => {
    const { config, problems } = loadConfig({
      env: {
        TAILRACE_INSECURE: 'false',
        TAILRACE_RETENTION_AGE: 'null',
        TAILRACE_ORIGINS: 'https://a.example, https://b.example',
        TAILRACE_RULES: '[{"filter":"a/#","durability":"none"}]',
        TAILRACE_LIMITS_MESSAGE_HEADERS: '8KiB',
        TAILRACE_DATA: '',
      },
      flags: { hosts: ['a', 'b,c'], insecure: true },
    });
    expect(problems).toEqual([]);
    expect(config).toMatchObject({
      insecure: true,
      retention: { age: null },
      origins: ['https://a.example', 'https://b.example'],
      hosts: ['a', 'b', 'c'],
      rules: [{ filter: 'a/#', durability: 'none' }],
      limits: { messageHeaders: 8192 },
      data: './data',
    });
  });

  test('a problem names where the value came from', () => {
    const file = fileWith('heartbeat: never\n');
    const loaded = loadConfig({
      file,
      env: { TAILRACE_PORT: 'x', TAILRACE_RULES: '[{' },
      flags: { engine: 'y' },
    });
    expect(told(loaded)).toEqual([
      expect.stringMatching(/^TAILRACE_PORT: port is "x", not a whole number/),
      expect.stringMatching(/^--engine: engine is "y": write disk, memory, or/),
      expect.stringContaining(`${file}: heartbeat is "never", not a duration`),
      expect.stringMatching(/^TAILRACE_RULES: rules is "\[\{", not a list of rules/),
    ]);
  });

  test.each([
    [
      { env: { TAILRACE_PROT: '1' } },
      'TAILRACE_PROT: there is no setting with this name; did you mean "TAILRACE_PORT"?',
    ],
    [{ env: { TAILRACE_FOO: '1' } }, 'TAILRACE_FOO: there is no setting with this name; tailrace serve --help lists'],
    [{ flags: { 'lag.limt': '1s' } }, '--lag.limt: there is no setting lag.limt; did you mean "lag.limit"?'],
    [{ env: { TAILRACE_PORT: 'tcp://10.0.0.1:4080' } }, 'enableServiceLinks: false'],
  ])('%j is refused', (sources, message) => {
    const loaded = loadConfig(sources);
    expect(loaded.config).toBeUndefined();
    expect(told(loaded)).toEqual([expect.stringContaining(message)]);
  });

  test('variables of the client commands and of Kubernetes are none of its business', () => {
    const env = {
      TAILRACE_URL: 'http://x',
      TAILRACE_SERVICE_HOST: '10.0.0.1',
      TAILRACE_SERVICE_PORT: '4080',
      TAILRACE_PORT_4080_TCP_ADDR: '10.0.0.1',
    };
    expect(loadConfig({ env }).problems).toEqual([]);
  });
});

describe('the file', () => {
  test('TAILRACE_CONFIG names it, and --config wins', () => {
    const env = { TAILRACE_CONFIG: fileWith('port: 5\n') };
    expect(loadConfig({ env })).toMatchObject({ config: { port: 5 }, file: env.TAILRACE_CONFIG });
    const file = fileWith('port: 6\n');
    expect(loadConfig({ env, file })).toMatchObject({ config: { port: 6 }, file });
  });

  test('an empty one is fine, and so is JSON', () => {
    expect(loadConfig({ file: fileWith('# nothing yet\n') }).problems).toEqual([]);
    expect(loadConfig({ file: fileWith('{"port": 7}') }).config?.port).toBe(7);
  });

  test.each([
    ['port: [', /: line 1, column \d+: /],
    ['port: 1\nport: 2\n', /: line 2, column 1: Map keys must be unique/],
    ['- port\n', /the file must be a mapping of settings/],
    ['lag: 3\n', /lag is 3, not an object with target, limit/],
    ['limits:\n', /limits is null, not an object with/],
    ['hearbeat: 1\n', /did you mean "heartbeat"/],
  ])('%j is refused with its place', (text, message) => {
    const loaded = loadConfig({ file: fileWith(text) });
    expect(loaded.config).toBeUndefined();
    expect(told(loaded)).toEqual([expect.stringMatching(message)]);
    expect(loaded.problems[0]!.source).toBe(loaded.file);
  });

  test('one that was named has to be there', () => {
    const loaded = loadConfig({ file: join(directory, 'none.yaml') });
    expect(loaded.config).toBeUndefined();
    expect(told(loaded)[0]).toContain('cannot read the settings file');
  });
});
