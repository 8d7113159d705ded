import { describe, expect, test } from 'vitest';
import { importFaults, rooms } from '../../../../scripts/house/imports.ts';
import { seamFaults } from '../../../../scripts/house/seams.ts';
import { sourceFiles, withoutComments } from '../../../../scripts/house/source-files.ts';

const files = sourceFiles();
const file = (path: string, code: string): { path: string; code: string } => ({ path, code: withoutComments(code) });

describe('the house (design §5)', () => {
  test('imports run one way: downwards', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(importFaults(files)).toEqual([]);
  });

  test('time, randomness and disk reach log, hub and gateway through seams only', () => {
    expect(seamFaults(files)).toEqual([]);
  });
});

describe('import directions', () => {
  const judge = (path: string, code: string): string[] => importFaults([file(path, code)]);

  test.each([
    ['log/log.ts', `import { Hub } from '../hub/index.ts';`, 'log stands below hub'],
    ['hub/hub.ts', `import type { Sse } from '../gateway/sse.ts';`, 'hub stands below gateway'],
    ['hub/hub.ts', `const { x } = await import('../api/index.ts');`, 'hub stands below api'],
    ['observe/metrics.ts', `export * from '../log/index.ts';`, 'observe stands below log'],
    ['gateway/door.ts', `import '../config/index.ts';`, 'gateway stands below config'],
    ['config/load.ts', `import { DiskLog } from '../log/index.ts';`, undefined],
    ['hub/hub.ts', `import { redis } from '../engines/redis.ts';`, 'only server may import engines'],
    ['hub/hub.ts', `import { x } from '../tools/x.ts';`, 'the house has no room "tools"'],
    ['hub/hub.ts', `import { x } from '../../../protocol/src/topic.ts';`, 'another package is imported by its name'],
    ['hub/hub.ts', `// import { Sse } from '../gateway/sse.ts';`, undefined],
    ['hub/hub.ts', `import { Log } from '../log/index.ts';\nimport { x } from './x.ts';`, undefined],
    ['server.ts', `import { loadConfig } from './config/index.ts';`, undefined],
    ['cli/serve.ts', `await import('../server.ts')`, undefined],
  ])('%s: %s', (path, code, fault) => {
    const faults = judge(`packages/server/src/${path}`, code);
    if (fault === undefined) expect(faults).toEqual([]);
    else expect(faults).toEqual([expect.stringContaining(fault)]);
  });

  test('protocol does no I/O and imports no package', () => {
    expect(judge('packages/protocol/src/x.ts', `import { readFile } from 'node:fs';`)).toHaveLength(1);
    expect(judge('packages/protocol/src/x.ts', `import { z } from 'zod';`)).toHaveLength(1);
  });

  test('client never imports the server', () => {
    expect(judge('packages/client/src/x.ts', `import { createTailrace } from 'tailrace';`)).toHaveLength(1);
    expect(judge('packages/client/src/x.ts', `import { parseCursor } from '@tailrace/protocol';`)).toEqual([]);
  });

  test('each room is named once', () => {
    expect(new Set(rooms).size).toBe(rooms.length);
  });
});

describe('seams', () => {
  test.each([
    'const now = Date.now();',
    'const now = new Date();',
    'const x = Math.random();',
    'setTimeout(go, 5);',
    'const timer = setInterval(go, 5);',
    'setImmediate(go);',
    'const t = performance.now();',
    `import { readFileSync } from 'node:fs';`,
    `import { open } from 'node:fs/promises';`,
    `import { randomUUID } from 'node:crypto';`,
  ])('%s is refused', code => {
    expect(seamFaults([file('packages/server/src/hub/hub.ts', code)])).toHaveLength(1);
  });

  test.each([
    ['log/clock.ts', 'now: () => Date.now(),'],
    ['api/routes.ts', 'const now = Date.now();'],
    ['hub/hub.ts', '// Date.now() would step'],
    ['hub/hub.ts', '/* setTimeout */ const url = "http://x"; // Math.random()'],
    ['gateway/door.ts', 'socket.setTimeout(0);'],
    ['hub/hub.ts', 'const at = new Date(time);'],
  ])('%s: %s is fine', (path, code) => {
    expect(seamFaults([file(`packages/server/src/${path}`, code)])).toEqual([]);
  });
});
