import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { CliProcess, runCli } from './cli-process.ts';
import { Served } from './served.ts';

describe('two terminals across restarts of the server', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'pub and sub lose and double nothing (%s)',
    { timeout: 60_000 },
    async signal => {
      await using served = await Served.start(['--drain.window', '100ms']);
      const { env } = served;
      await using sub = new CliProcess(['sub', 'logs/#', '--from', 'earliest', '--raw'], { env });
      await using pub = new CliProcess(['pub', 'logs/app', '--json'], { env });
      let written = 0;
      const write = (count: number): void => {
        pub.write(Array.from({ length: count }, () => `line ${written++}\n`).join(''));
      };

      write(500);
      await Promise.race([sub.lines(1), unlessEnded(pub)]);
      for (let round = 0; round < 3; round++) {
        write(2000);
        // in the middle of what was just written, acked or not
        await Promise.race([sub.lines(written - 1900), unlessEnded(pub)]);
        await served.kill(signal);
        write(300);
        await served.startAgain();
      }
      write(200);
      pub.end();
      expect(await pub.ended()).toBe(0);
      expect(JSON.parse(pub.stdout)).toMatchObject({ accepted: written });
      await sub.lines(written);
      expect(sub.stdout.split('\n')).toEqual([...Array.from({ length: written }, (_, i) => `line ${i}`), '']);
      // told once while a trouble lasts: a kill before the first ack after a restart is still the same trouble
      expect(pub.stderr).toContain('trying again');
      expect(sub.stderr).toContain('reconnecting');
      expect(sub.stderr).not.toMatch(/gap|reset/);
    },
  );

  test.each([
    ['pub of lines', ['pub', 'early', '--json'], 'accepted'],
    ['pub of one message', ['pub', 'early', '1', '--json'], 'offset'],
    ['sub', ['sub', 'early', '--from', 'earliest', '--count', '1', '--json'], 'topic'],
  ] as const)('%s goes on when the server is killed before its first answer', async (_, args, printed) => {
    await using served = await Served.start();
    await served.kill('SIGKILL');
    await using cli = await takeRequestAndDie(served.port, () => new CliProcess(args, { env: served.env }));
    cli.end();
    await served.startAgain();
    if (args[0] === 'sub') await runCli(['pub', 'early', '1'], { env: served.env });
    expect(await cli.ended()).toBe(0);
    expect(JSON.parse(cli.stdout)).toHaveProperty(printed);
  });

  test('sub waits for a server that comes back late', async () => {
    await using served = await Served.start();
    const { env } = served;
    await using sub = new CliProcess(['sub', 'late', '--from', 'earliest'], { env });
    await using first = new CliProcess(['pub', 'late', '1'], { env });
    expect(await first.ended()).toBe(0);
    await sub.lines(1);
    await served.kill('SIGKILL');
    await sub.until(() => sub.stderr.includes('reconnecting'));
    await served.startAgain();
    await using second = new CliProcess(['pub', 'late', '2'], { env });
    expect(await second.ended()).toBe(0);
    expect(await sub.lines(2)).toEqual(['late 1', 'late 2']);
    await sub.until(() => sub.stderr.includes('connected again'));
  });
});

/** Fails with what the process said when it ends; until then it waits. */
async function unlessEnded(cli: CliProcess): Promise<never> {
  const code = await cli.ended();
  throw new Error(`tailrace ended with ${code}: ${cli.stderr}`);
}

/** Lets a command connect to a server that reads its request, says nothing and is gone. */
async function takeRequestAndDie(port: number, run: () => CliProcess): Promise<CliProcess> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const cli = run();
  cli.write('a line\n');
  const [socket] = (await once(server, 'connection')) as [Socket];
  await once(socket, 'data');
  server.close();
  socket.resetAndDestroy();
  return cli;
}
