import { defaultInputLimits } from '@tailrace/protocol';
import { describe, expect, test } from 'vitest';
import { createConfig, defaultConfig, settings } from '../../src/config/index.ts';
import { envName } from '../../src/config/settings.ts';

describe('the settings', () => {
  test('each has one name in three spellings', () => {
    expect(envName('port')).toBe('TAILRACE_PORT');
    expect(envName('lag.limit')).toBe('TAILRACE_LAG_LIMIT');
    expect(envName('limits.messageHeaders')).toBe('TAILRACE_LIMITS_MESSAGE_HEADERS');
    expect(new Set(settings.map(setting => setting.env)).size).toBe(settings.length);
  });

  test('each is described, with a default that it accepts when written out', () => {
    for (const { name, help, allowed, shown, kind } of settings) {
      expect(help, name).toMatch(/\.$/);
      expect(allowed, name).not.toBe('');
      if (kind === 'list' || kind === 'rules' || shown === 'null') continue;
      const value = kind === 'switch' ? shown === 'true' : kind === 'count' ? Number(shown) : shown;
      const keys = name.split('.');
      const input = keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
      expect(createConfig(input as never), name).toEqual(defaultConfig());
    }
  });

  test('every leaf of the config is a setting', () => {
    const leaves = (tree: object, prefix: string): string[] =>
      Object.entries(tree).flatMap(([key, value]) =>
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? leaves(value, `${prefix}${key}.`)
          : [prefix + key],
      );
    expect(leaves(defaultConfig(), '').sort()).toEqual(settings.map(setting => setting.name).sort());
  });

  test('are secure and durable by default', () => {
    expect(defaultConfig()).toMatchObject({
      host: '127.0.0.1',
      port: 4080,
      data: './data',
      engine: 'disk',
      durability: 'fsync',
      insecure: false,
      origins: [],
      hosts: [],
      heartbeat: 25_000,
      stall: { max: 60_000 },
      lag: { target: 100, limit: 200 },
      retention: { age: null, bytes: null },
      dedupe: { ids: 100_000, age: 300_000, limit: 400_000, producers: 10_000 },
    });
  });

  test('limits on input have the defaults that the protocol has', () => {
    const { limits } = defaultConfig();
    // the classes of durability are the engine's, not a setting
    const { durabilities: _, ...expected } = defaultInputLimits;
    expect({
      topicBytes: limits.topic,
      topicLevels: limits.levels,
      filters: limits.filters,
      message: limits.message,
      messageHeaders: limits.messageHeaders,
    }).toEqual(expected);
  });

  test('one config cannot be changed through another', () => {
    expect(defaultConfig()).not.toBe(defaultConfig());
    expect(defaultConfig().limits).not.toBe(defaultConfig().limits);
  });
});
