import * as fs from 'node:fs';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { startServer } from '../../src/server.ts';
import { smallFileSystem } from '../log/small-file-system.ts';

test('a server on a full disk starts, says so, serves what is there, and takes publishes when there is room', async ctx => {
  using mount = smallFileSystem(ctx, '4m');
  const data = path.join(mount.directory, 'data');
  const start = () =>
    startServer(createConfig({ data, port: 0, log: { level: 'silent' }, segment: { bytes: '64KiB' } }));
  const ask = async (url: string, method = 'GET') => {
    const response = await fetch(url, { method, ...(method === 'POST' ? { body: '"x"' } : {}) });
    return { status: response.status, text: await response.text() };
  };

  const first = await start();
  const before = `http://127.0.0.1:${first.address.port}`;
  for (let i = 0; i < 10; i++) expect((await ask(`${before}/v1/topics/a`, 'POST')).status).toBe(200);
  await first.close();
  // the next owner would replace it and find its block free
  fs.rmSync(path.join(data, 'term'));
  mount.fill();

  const { address, close } = await start();
  try {
    const url = `http://127.0.0.1:${address.port}`;
    expect((await ask(`${url}/healthz`)).status).toBe(200);
    const ready = await ask(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(ready.text).toContain('the log is full: ENOSPC');
    expect((await ask(`${url}/v1/log?filter=a&from=earliest`)).text.trimEnd().split('\n')).toHaveLength(11);
    const refused = await ask(`${url}/v1/topics/a`, 'POST');
    expect(refused.status).toBe(507);
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'log_full', retry: 'later', outcome: 'none' });

    mount.free();
    while ((await ask(`${url}/readyz`)).status !== 200) await new Promise(resolve => setTimeout(resolve, 20));
    const taken = await ask(`${url}/v1/topics/a`, 'POST');
    expect(taken.status).toBe(200);
    expect(JSON.parse(taken.text)).toMatchObject({ offset: 11, duplicate: false });
  } finally {
    await close();
  }
});
