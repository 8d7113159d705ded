import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CliProcess, runCli } from './cli-process.ts';
import { freePort, Served } from './served.ts';

describe('serve', () => {
  test('says where it listens, where the log is and what an ack survives', async () => {
    await using served = await Served.start();
    expect(served.process.stdout).toContain(`at http://127.0.0.1:${served.port}/`);
    expect(served.process.stdout).toContain(join(served.directory, 'data'));
    expect(served.process.stdout).toContain('survives power loss');
    expect(served.process.stderr).not.toContain('insecure');
    const response = await fetch(`${served.url}/readyz`);
    expect(response.status).toBe(200);
  });

  test('--port 0 takes a free port and names it', async () => {
    await using cli = new CliProcess(['--port', '0', '--engine', 'memory']);
    const port = await cli.until(() => /:(\d+)\/\n/.exec(cli.stdout)?.[1]);
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    expect(cli.stdout).toContain('lost when the server stops');
  });

  test('warns whoever opens it to the network', async () => {
    await using cli = new CliProcess(['serve', '--host', '0.0.0.0', '--port', '0', '--engine', 'memory', '--insecure']);
    await cli.until(() => /warning: insecure is on: everyone who can reach 0\.0\.0\.0/.test(cli.stderr));
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s closes the log and exits with 0', async signal => {
    await using served = await Served.start();
    expect((await runCli(['pub', 'a', '1'], { env: served.env })).code).toBe(0);
    expect(await served.kill(signal)).toBe(0);
    expect(served.process.stdout).toContain('stopped');
    await served.startAgain();
    expect(served.process.stderr).not.toContain('owner_replaced');
    expect((await runCli(['replay', 'a'], { env: served.env })).stdout).toBe('a 1\n');
  });

  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('a second %s ends it at once', async (signal, code) => {
    await using served = await Served.start(['--drain.timeout', '10m', '--body.timeout', '10m']);
    // a body that never comes keeps the server from stopping
    const socket = connect(served.port, '127.0.0.1').on('error', () => {});
    socket.write('POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n');
    expect(String(await once(socket, 'data'))).toContain('100 Continue');
    served.process.kill(signal);
    await served.process.until(() => served.process.stdout.includes('stopping'));
    const again = setInterval(() => served.process.kill(signal), 50);
    expect(await served.process.ended()).toBe(code);
    clearInterval(again);
    socket.destroy();
  });

  test('SIGTERM while a publisher streams: its last line says what was accepted, which is in the log', async () => {
    await using served = await Served.start();
    const socket = connect(served.port, '127.0.0.1').on('error', () => {});
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.write(
      'POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    let sent = 0;
    const send = (): void => {
      const line = `{"topic":"a","data":${sent++}}\n`;
      socket.write(`${line.length.toString(16)}\r\n${line}\r\n`);
    };
    const sending = setInterval(send, 1);
    while (!answer.includes('"accepted":')) await once(socket, 'data');
    served.process.kill('SIGTERM');
    while (!answer.includes('"error":')) await once(socket, 'data');
    clearInterval(sending);
    socket.destroy();
    expect(await served.process.ended()).toBe(0);
    const last = JSON.parse(/^\{"error":.*$/m.exec(answer)![0]) as { error: unknown; accepted: number };
    expect(last.error).toMatchObject({ code: 'draining', retry: 'later', detail: expect.stringContaining('again') });
    expect(last.accepted).toBeGreaterThan(0);
    await served.startAgain();
    const { stdout } = await runCli(['replay', 'a', '--raw'], { env: served.env });
    expect(stdout).toBe(Array.from({ length: last.accepted }, (_, i) => `${i}\n`).join(''));
  });

  test('a signal that the shell, npm and the launcher all deliver is one', async () => {
    await using served = await Served.start();
    for (let i = 0; i < 3; i++) served.process.kill('SIGINT');
    expect(await served.process.ended()).toBe(0);
  });

  test('a port in use is told in one line', async () => {
    await using served = await Served.start();
    const { code, stderr } = await runCli(['serve', '--port', String(served.port), '--engine', 'memory']);
    expect(stderr).toContain(`tailrace: port ${served.port} of 127.0.0.1 is in use`);
    expect(code).toBe(1);
  });

  test('a data directory in use is told in one line', async () => {
    await using served = await Served.start();
    const { code, stderr } = await runCli(['serve', '--port', '0', '--data', join(served.directory, 'data')]);
    const { pid } = served.process.child;
    expect(stderr).toBe(
      `tailrace: the data directory ${join(served.directory, 'data')} is in use by process ${pid}; stop it or choose another directory. If it hangs and cannot be stopped, start with --take-over\n`,
    );
    expect(code).toBe(1);
    // and the one that owns it does not notice
    expect((await runCli(['pub', 'a', '1'], { env: served.env })).code).toBe(0);
  });

  test.runIf(process.platform === 'linux')('has threads to spare for reads beside the commit', async () => {
    await using served = await Served.start();
    const tasks = `/proc/${served.process.child.pid}/task`;
    const names = readdirSync(tasks).map(task => readFileSync(`${tasks}/${task}/comm`, 'utf8').trim());
    expect(names.filter(name => name === 'libuv-worker').length).toBeGreaterThanOrEqual(16);
    // and of those that collect garbage no more than there are other cores
    const collecting = names.filter(name => name === 'node-V8Worker').length;
    expect(collecting).toBeGreaterThanOrEqual(1);
    expect(collecting).toBeLessThanOrEqual(Math.max(1, availableParallelism() - 1));
  });

  test.runIf(process.platform === 'linux')('keeps the flags that Node was given', async () => {
    const env = { NODE_OPTIONS: '--v8-pool-size=3' };
    await using cli = new CliProcess(['serve', '--port', '0', '--engine', 'memory'], { env });
    await cli.until(() => cli.stdout.includes('http://'));
    const { pid } = cli.child;
    const names = readdirSync(`/proc/${pid}/task`).map(task => readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8'));
    expect(names.filter(name => name.trim() === 'node-V8Worker')).toHaveLength(3);
  });
});

const oldNode = findOldNode();

describe.runIf(oldNode !== undefined)('from a Node that is too old to run it', () => {
  test('help and exit codes come through', async () => {
    expect(await runCli(['--version'], { node: oldNode! })).toMatchObject({ code: 0, stderr: '' });
    expect((await runCli(['nonsense'], { node: oldNode! })).code).toBe(2);
  });

  test('SIGTERM to the launcher stops the server in good order', async () => {
    await using cli = new CliProcess(['serve', '--port', '0', '--engine', 'memory'], { node: oldNode! });
    await cli.until(() => cli.stdout.includes('http://'));
    cli.kill('SIGTERM');
    expect(await cli.ended()).toBe(0);
    expect(cli.stdout).toContain('stopped');
  });

  test('a killed launcher takes the server with it', async () => {
    const port = await freePort();
    await using cli = new CliProcess(['serve', '--port', String(port), '--engine', 'memory'], { node: oldNode! });
    await cli.until(() => cli.stdout.includes('http://'));
    cli.kill('SIGKILL');
    // the pipes close when the server, which has inherited them, is gone too
    expect(await cli.ended()).toBe('SIGKILL');
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow();
  });
});

function findOldNode(): string | undefined {
  try {
    const found = execFileSync('sh', ['-c', 'command -v -p node || command -v node'], { encoding: 'utf8' }).trim();
    const major = Number(execFileSync(found, ['-p', 'process.versions.node.split(".")[0]'], { encoding: 'utf8' }));
    return major < 24 ? found : undefined;
  } catch {
    return undefined;
  }
}
