import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { besideOthers, startApi } from './api-server.ts';

function raw(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, agent: false }, res => {
      res.resume();
      resolve(res.statusCode!);
    })
      .on('error', reject)
      .end();
  });
}

it('serves the files of its directory and no other', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pages-'));
  const pages = join(root, 'pages');
  await mkdir(join(pages, 'sub'), { recursive: true });
  await writeFile(join(root, 'secret.txt'), 'secret');
  await writeFile(join(pages, '.hidden'), 'hidden');
  await writeFile(
    join(pages, 'index.html'),
    '<!doctype html><script type="module">let a = 1;</script><script src="/app.js"></script>',
  );
  await writeFile(join(pages, 'app.js'), 'let b;');
  await writeFile(join(pages, 'sub', 'style.css'), 'a{}');
  await using server = await startApi({ pages });
  try {
    const index = await fetch(`${server.url}/`);
    expect(index.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(index.headers.get('cache-control')).toBe('no-cache');
    const hash = createHash('sha256').update('let a = 1;').digest('base64');
    expect(index.headers.get('content-security-policy')).toContain(`script-src 'self' 'sha256-${hash}';`);
    expect(await index.text()).toContain('<!doctype html>');
    expect((await fetch(`${server.url}/app.js`)).headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect((await fetch(`${server.url}/sub/style.css`)).headers.get('content-type')).toBe('text/css; charset=utf-8');
    // read anew, so that an edit shows
    await writeFile(join(pages, 'app.js'), 'let c;');
    expect(await (await fetch(`${server.url}/app.js`)).text()).toBe('let c;');
    const elsewhere = [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/sub/../../secret.txt',
      '/sub/..%5c..%5csecret.txt',
      '/.hidden',
      '/sub',
      '/sub/',
      '//etc/passwd',
      '/app.js/',
      '/app.js%00',
    ];
    await besideOthers(server, async () => {
      for (const path of elsewhere) expect([path, await raw(server.port, path)]).toEqual([path, 404]);
    });
  } finally {
    await rm(root, { recursive: true });
  }
});

it('does without pages', async () => {
  await using server = await startApi({ pages: '/nonexistent' });
  expect((await fetch(`${server.url}/`)).status).toBe(404);
  expect((await fetch(`${server.url}/v1`)).status).toBe(200);
});
