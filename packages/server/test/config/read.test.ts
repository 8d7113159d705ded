import { describe, expect, test } from 'vitest';
import { ConfigError, createConfig, readConfig } from '../../src/config/index.ts';

const messages = (input: unknown): string[] => readConfig(input).problems.map(problem => problem.message);
const only = (input: unknown): string => {
  const { config, problems } = readConfig(input);
  expect(problems).toHaveLength(1);
  expect(config === undefined).toBe(problems[0]!.severity === 'error');
  return problems[0]!.message;
};

describe('one setting', () => {
  test('takes human units everywhere', () => {
    const config = createConfig({
      heartbeat: '10s',
      hot: { bytes: '128MiB' },
      retention: { age: '7d', bytes: '10GiB' },
      rules: [
        { filter: 'a/#', lag: { policy: 'last', after: '2s' } },
        { filter: 'b', durability: 'none' },
        { filter: 'c', keep: { lastPerKey: true } },
      ],
    });
    expect(config.heartbeat).toBe(10_000);
    expect(config.hot.bytes).toBe(128 * 1024 * 1024);
    expect(config.retention).toEqual({ age: 604_800_000, bytes: 10 * 1024 ** 3, grace: 3_600_000 });
    expect(config.rules).toEqual([
      { filter: 'a/#', lag: { policy: 'last', after: 2000 } },
      { filter: 'b', durability: 'none' },
      { filter: 'c', keep: { lastPerKey: true } },
    ]);
  });

  test('a lag rule waits 10 s unless it says', () => {
    const { rules } = createConfig({ rules: [{ filter: '#', lag: { policy: 'disconnect' } }] });
    expect(rules[0]!.lag).toEqual({ policy: 'disconnect', after: 10_000 });
  });

  test.each([
    [{ port: 70_000 }, 'port is 70000, not a whole number from 0 to 65535'],
    [{ port: '4080' }, 'port is "4080", not a whole number from 0 to 65535'],
    [{ port: 1.5 }, 'port is 1.5, not a whole number from 0 to 65535'],
    [{ engine: 'redis' }, 'engine is "redis": write disk, memory, or a URL'],
    [{ durability: 'none' }, 'durability is "none", not one of fsync, written'],
    [{ insecure: 'yes' }, 'insecure is "yes", not true or false'],
    [{ heartbeat: '25 parsecs' }, 'heartbeat is "25 parsecs", not a duration from 5s to 30s'],
    [{ heartbeat: '31s' }, 'heartbeat is "31s", not a duration from 5s to 30s'],
    [{ websocket: { heartbeat: '4999ms' } }, 'websocket.heartbeat is "4999ms", not a duration from 5s to 30s'],
    [{ heartbeat: null }, 'heartbeat is null, not a duration from'],
    [{ limits: { message: '64MiB' } }, 'limits.message is "64MiB", not a size from 1B to 32MiB'],
    [{ limits: 5 }, 'limits is 5, not an object with connections, header, filters'],
    [{ host: 'a b' }, 'host is "a b", not an IP address or host name'],
    [{ origins: 'https://a' }, 'origins is "https://a", not a list of origins'],
    [{ origins: ['https://a', 'https://b/path'] }, 'origins[1] is "https://b/path", not allowed in a list of origins'],
    [{ hosts: ['a:80'] }, 'hosts[0] is "a:80", not allowed in a list of host names without port'],
    [{ rules: {} }, 'rules is {}, not a list of rules'],
    [{ rules: [{ filter: 'a/#/b', durability: 'none' }] }, 'rules[0].filter is "a/#/b", not a filter'],
    [{ rules: [{ durability: 'none' }] }, 'rules[0].filter is missing: it must be a filter'],
    [{ rules: [{ filter: 'a', durability: 'x' }] }, 'rules[0].durability is "x", not one of fsync, written, none'],
    [{ rules: [{ filter: 'a', lag: { policy: 'drop' } }] }, 'rules[0].lag.policy is "drop", not one of replay, last'],
    [{ rules: [{ filter: 'a', lag: { policy: 'last', after: 'x' } }] }, 'rules[0].lag.after is "x", not a duration'],
    [{ rules: [{ filter: 'a', keep: {} }] }, 'rules[0].keep is {}, not an object with either last or lastPerKey'],
    [
      { rules: [{ filter: 'a', keep: { last: 5, lastPerKey: true } }] },
      'rules[0].keep is {"last":5,"lastPerKey":true}',
    ],
    [{ rules: [{ filter: 'a', keep: { last: 0 } }] }, 'rules[0].keep.last is 0, not a whole number from 1'],
    [{ rules: [{ filter: 'a', keep: { lastPerKey: false } }] }, 'rules[0].keep.lastPerKey is false, not true'],
    [{ tombstone: { age: '1h' } }, 'tombstone.age is "1h", not a duration from 1d'],
    [[], 'the file is [], not an object with settings'],
  ])('%j: %s', (input, message) => {
    expect(only(input)).toContain(message);
  });

  test('every fault is told, not the first alone', () => {
    expect(messages({ port: -1, engine: 'x', limits: { topic: 'y', levels: 0 } })).toHaveLength(4);
  });

  test('a long value is cut short in the message', () => {
    expect(only({ engine: 'x'.repeat(10_000) }).length).toBeLessThan(200);
  });
});

describe('unknown names', () => {
  test.each([
    [{ hearbeat: 1 }, 'there is no setting hearbeat; did you mean "heartbeat"?'],
    [{ colour: 1 }, 'there is no setting colour; known are host, port, data'],
    [{ limit: { message: 1 } }, 'there is no setting limit; did you mean "limits"?'],
    [{ 'lag.limt': 1 }, 'there is no setting lag.limt; did you mean "lag.limit"?'],
    [{ lag: { foo: 1 } }, 'there is no setting lag.foo; known are target, limit'],
    [{ limits: { foo: 1 } }, 'there is no setting limits.foo; known are connections, header, filters'],
    [
      { rules: [{ filter: 'a', policy: 1 }] },
      'there is no setting rules[0].policy; known are filter, durability, lag, keep',
    ],
    [
      { rules: [{ filter: 'a', lag: { policy: 'last', wait: 1 } }] },
      'there is no setting rules[0].lag.wait; known are policy, after',
    ],
    [{ limits: { mesage: 1 } }, 'there is no setting limits.mesage; did you mean "limits.message"?'],
    [{ 'lag.limit': '1s' }, 'write it nested, "lag: { limit: … }"'],
    [
      { rules: [{ filter: 'a', durabilty: 'none' }] },
      'there is no setting rules[0].durabilty; did you mean "durability"?',
    ],
    [{ rules: [{ filter: 'a', lag: { policy: 'last', afer: 1 } }] }, 'rules[0].lag.afer; did you mean "after"?'],
    [JSON.parse('{"__proto__": {"port": 1}}'), 'there is no setting __proto__'],
  ])('%j: %s', (input, message) => {
    expect(only(input)).toContain(message);
  });
});

test('what is known is listed once each', () => {
  for (const input of [{ colour: 1 }, { lag: { foo: 1 } }, { rules: [{ filter: 'a', foo: 1 }] }]) {
    const names = only(input).split('; known are ')[1]!.split(', ');
    expect(names).toEqual([...new Set(names)]);
  }
});

describe('settings that must fit together', () => {
  test.each([
    [{ stall: { max: '20s' } }, 'heartbeat is 25s and must be shorter than stall.max, 20s'],
    [{ heartbeat: '5s', stall: { max: '6s' }, sse: { heartbeat: '6s' } }, 'sse.heartbeat is 6s and must be shorter'],
    [{ lag: { target: '1s' } }, 'lag.target is 1s and must be shorter than lag.limit, 200ms'],
    [{ poll: { wait: '2m' } }, 'poll.wait is 2m and must not exceed poll.max, 1m'],
    [{ limits: { message: '20MiB' } }, 'limits.message is 20MiB and must not exceed limits.body, 16MiB'],
    [{ hot: { bytes: '64KiB' } }, 'limits.message is 1MiB and must not exceed hot.bytes, 64KiB'],
    [{ retention: { bytes: '32MiB' } }, 'retention.bytes is 32MiB and must be at least segment.bytes, 64MiB'],
    [{ host: '0.0.0.0' }, 'Set insecure: true (--insecure, TAILRACE_INSECURE=true)'],
    [{ host: '::' }, 'host is "::"'],
    [{ host: 'example.com' }, 'host is "example.com"'],
    [{ host: '128.0.0.1' }, 'host is "128.0.0.1"'],
  ])('%j: %s', (input, message) => {
    expect(only(input)).toContain(message);
  });

  test.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('%s is loopback', host => {
    expect(createConfig({ host }).host).toBe(host);
  });

  test('insecure lets it listen anywhere', () => {
    expect(readConfig({ host: '0.0.0.0', insecure: true }).problems).toEqual([]);
  });

  test('a memory log is told to keep what it cannot', () => {
    const input = { engine: 'memory', rules: [{ filter: 'a', keep: { last: 5 } }] };
    expect(only(input)).toContain('rules[0] for "a" has keep, by which engine memory removes nothing');
    expect(only(input)).not.toContain('tables');
    const table = { engine: 'memory', rules: [{ filter: 'a', keep: { lastPerKey: true } }] };
    expect(only(table)).toContain('by which engine memory removes nothing');
    expect(only(table)).toContain('tables');
  });

  test('a rule that sets nothing is a warning', () => {
    expect(only({ rules: [{ filter: 'a' }] })).toContain('rules[0] for "a" sets nothing');
  });
});

test('createConfig throws every problem at once', () => {
  expect(() => createConfig({ port: -1, heartbeat: 'x' })).toThrow(ConfigError);
  expect(() => createConfig({ port: -1, heartbeat: 'x' })).toThrow(/port is -1[\s\S]*heartbeat is "x"/);
});
