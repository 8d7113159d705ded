import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { freePort } from '../../packages/server/test/cli/served.ts';
import { type Block, pages, values } from './page.ts';
import { Stage } from './stage.ts';

const nginx = '/usr/sbin/nginx';
const systemdAnalyze = '/usr/bin/systemd-analyze';
const name = 'push.example.com';

/** The block of docs/operations.md that is written to this file. */
function blockOf(file: string): Block {
  const { blocks } = pages().find(({ path }) => path === 'docs/operations.md')!;
  return blocks.find(block => values(block, 'file').includes(file))!;
}

test.skipIf(!existsSync(systemdAnalyze))('the unit file passes systemd-analyze verify', async () => {
  await using stage = await Stage.open();
  const unit = join(stage.directory, 'tailrace.service');
  writeFileSync(unit, blockOf('tailrace.service').text);
  expect(execFileSync(systemdAnalyze, ['verify', unit], { encoding: 'utf8', stdio: 'pipe' })).toBe('');
});

describe.skipIf(!existsSync(nginx))('behind nginx, with the location of docs/operations.md', () => {
  /** A server that answers to `name`, and nginx in front of it. */
  async function openProxy(): Promise<{ stage: Stage; port: number } & AsyncDisposable> {
    const stage = await Stage.open(`--hosts ${name}`);
    const port = await freePort();
    const place = join(stage.directory, 'nginx');
    mkdirSync(place);
    const location = blockOf('nginx-location.conf').text.replace('http://127.0.0.1:4080', stage.url);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      kind => `${kind}_temp_path ${place}/${kind};`,
    );
    writeFileSync(
      join(place, 'nginx.conf'),
      `daemon off; pid ${place}/pid; error_log stderr notice; events {}
      http {
        access_log off; ${temporary.join(' ')}
        map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
        server { listen 127.0.0.1:${port}; server_name ${name}; ${location} }
      }`,
    );
    const proxy = stage.run(`exec ${nginx} -e stderr -c ${place}/nginx.conf`);
    const close = async (): Promise<void> => {
      await proxy[Symbol.asyncDispose]();
      await stage[Symbol.asyncDispose]();
    };
    try {
      await proxy.until(output => output.includes('start worker process'), 'workers');
    } catch (error) {
      await close();
      throw error;
    }
    return { stage, port, [Symbol.asyncDispose]: close };
  }

  test('an event stream brings each message as it comes', async () => {
    await using proxy = await openProxy();
    const url = `http://127.0.0.1:${proxy.port}/v1`;
    const stream = proxy.stage.run(`curl -sSN -H 'Host: ${name}' '${url}/sse?filter=a'`);
    await stream.until(output => output.includes('"subscribed"'), 'subscribed');
    const publish = proxy.stage.run(`curl -sS -H 'Host: ${name}' ${url}/topics/a -d 1`);
    expect(await publish.ended()).toBe(0);
    await stream.until(output => output.includes('"data":1'), 'the message');
    await stream[Symbol.asyncDispose]();
  });

  test('lines are appended while the request is open', async () => {
    await using proxy = await openProxy();
    const answer = new Promise<string>((resolve, reject) => {
      const req = request({
        port: proxy.port,
        host: '127.0.0.1',
        path: '/v1/publish',
        method: 'POST',
        headers: { Host: name, 'Content-Type': 'application/x-ndjson' },
      });
      req.on('error', reject).on('response', response => {
        response.setEncoding('utf8').on('data', (text: string) => {
          resolve(text);
          req.end();
        });
      });
      req.write('{"topic":"a","data":1}\n');
    });
    expect(await answer).toMatch(/^\{"accepted":1,/);
  });

  test('a WebSocket passes', async () => {
    await using proxy = await openProxy();
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/v1/ws`, 'tailrace.v1.json', { headers: { Host: name } });
    const welcome = await new Promise<string>((resolve, reject) => {
      socket.on('error', reject).on('message', data => resolve(data.toString()));
      socket.on('open', () => socket.send('{"type":"ping","ref":1}'));
    });
    socket.close();
    expect(JSON.parse(welcome)).toMatchObject({ type: 'welcome', protocol: 'tailrace.v1.json' });
  });
});
