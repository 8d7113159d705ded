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

  test('time, randomness, disk and sockets reach log, hub and gateway through seams only', () => {
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
    ['cli/serve.ts', `await import('../server.ts', { with: {} })`, undefined],
    ['hub/hub.ts', 'await import(`../gateway/sse.ts`)', 'import() takes a quoted name'],
    ['hub/hub.ts', `await import(\`../\${room}/sse.ts\`)`, 'import() takes a quoted name'],
    ['hub/hub.ts', `await import('./a' + name)`, 'import() takes a quoted name'],
    ['hub/hub.ts', 'await import(\n  name,\n)', 'import() takes a quoted name'],
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
    'const now = new Date;',
    'const [now] = [new Date, 1];',
    'const text = Date();',
    `const now = Date['now']();`,
    'const Today = Date;',
    'const now = Temporal.Now.instant();',
    'const t = process.hrtime();',
    'const t = process.hrtime.bigint();',
    'const { hrtime } = process;',
    'const t = process.uptime();',
    'globalThis.setTimeout(go, 5);',
    `globalThis['setTimeout'](go, 5);`,
    'const signal = AbortSignal.timeout(5);',
    'const later = setTimeout;',
    'const id = crypto.randomUUID();',
    'crypto.getRandomValues(bytes);',
    `const x = Math['random']();`,
    'const { random } = Math;',
    `const fs = process.getBuiltinModule('fs');`,
    `const answer = await fetch('http://x');`,
    `const socket = new WebSocket('ws://x');`,
    `import { connect } from 'node:net';`,
    `import net from 'node:net';`,
    `import {\n  connect,\n  type Socket,\n} from 'net';`,
    `import { createSocket } from 'node:dgram';`,
    `import * as tls from 'node:tls';`,
    `import { request } from 'node:http';`,
    `import { request } from 'node:https';`,
    `import { lookup } from 'node:dns/promises';`,
    `import * as crypto from 'node:crypto';`,
    `import { performance } from 'node:perf_hooks';`,
    `import { setTimeout as sleep } from 'node:timers/promises';`,
    `import { createRequire } from 'node:module';`,
    `import { spawn } from 'node:child_process';`,
    `export { readFileSync } from 'node:fs';`,
    `export * from 'node:fs';`,
    `import 'node:fs';`,
    `const { readFileSync } = await import('node:fs');`,
    `import { WebSocket } from 'ws';`,
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
    ['hub/hub.ts', 'const at = new Date(\n  time,\n);'],
    ['hub/hub.ts', 'const at = Date.UTC(2026, 0);'],
    ['hub/hub.ts', 'const most = Math.max(1, Math.floor(x));'],
    ['hub/hub.ts', 'process.nextTick(flush, this);'],
    ['gateway/sse.ts', `import type { Socket } from 'node:net';`],
    ['gateway/sse.ts', `import { type ServerResponse, STATUS_CODES } from 'node:http';`],
    ['gateway/door.ts', `import { createServer, type Socket } from 'node:net';`],
    ['log/disk/frame.ts', `import * as path from 'node:path';\nimport { crc32 } from 'node:zlib';`],
    ['log/disk/identity.ts', `import { createHash } from 'node:crypto';`],
    ['log/disk/files/node-disk.ts', `import * as fs from 'node:fs';`],
  ])('%s: %s is fine', (path, code) => {
    expect(seamFaults([file(`packages/server/src/${path}`, code)])).toEqual([]);
  });

  test.each([
    ['log/clock.ts', 'const x = Math.random();'],
    ['log/random.ts', 'setTimeout(go, 5);'],
    ['log/disk/files/node-disk.ts', 'const now = Date.now();'],
    ['log/disk/files/node-disk.ts', `import { connect } from 'node:net';`],
    ['log/disk/files/ownership.ts', 'setTimeout(go, 5);'],
    ['gateway/door.ts', 'setTimeout(go, 5);'],
    ['gateway/door.ts', `import { readFileSync } from 'node:fs';`],
  ])('%s is a seam for other things: %s is refused', (path, code) => {
    expect(seamFaults([file(`packages/server/src/${path}`, code)])).toHaveLength(1);
  });
});
