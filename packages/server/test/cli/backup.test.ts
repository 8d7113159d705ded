import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SseClient } from '../gateway/sse-client.ts';
import { until } from '../log/messages.ts';
import { CliProcess, type CliResult, runCli } from './cli-process.ts';
import { Served } from './served.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tailrace-backup-'));
});
afterAll(() => rmSync(root, { recursive: true }));

const log = (...args: string[]): Promise<CliResult> => runCli(['log', ...args]);
const segmentsIn = (directory: string): number =>
  existsSync(directory) ? readdirSync(directory).filter(name => name.endsWith('.log')).length : 0;
const flags = ['--segment.bytes', '64KiB', '--limits.message', '16KiB', '--hot.bytes', '64KiB'];

/** Publishes as fast as it is answered, until it is stopped; remembers what was acknowledged. */
class Load {
  readonly acked = new Map<string, number>();
  cursor = '';
  #stopped = false;
  readonly #publishers: readonly Promise<void>[];

  constructor(url: string, publishers: number) {
    this.#publishers = Array.from({ length: publishers }, (_, n) => this.#publish(url, n));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#publishers);
  }

  async #publish(url: string, publisher: number): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const id = `${publisher}-${n}`;
      const durability = n % 4 === 0 ? 'written' : 'fsync';
      const response = await fetch(`${url}/v1/topics/load/${publisher}?id=${id}&durability=${durability}`, {
        method: 'POST',
        body: JSON.stringify(id.padEnd(400, '.')),
      }).catch(() => undefined);
      // the server was killed
      if (response === undefined) return;
      const { offset, cursor } = (await response.json()) as { offset: number; cursor: string };
      this.acked.set(id, offset);
      this.cursor = cursor;
    }
  }
}

async function recordsOf(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/v1/log?filter=%23&from=earliest`)).text();
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { id: string; offset?: number });
  // the last line says where the log was read up to
  const records = lines.flatMap(({ id, offset }) => (offset === undefined ? [] : [{ id, offset }]));
  return new Map(records.map(({ id, offset }) => [id, offset]));
}

describe('log backup beside a server under load, then log restore', () => {
  test('everything acknowledged before it is there, and a cursor beyond it is told reset', {
    timeout: 60_000,
  }, async () => {
    const backup = join(root, 'backup');
    const copy = join(root, 'copy');
    await using served = await Served.start(flags);
    const data = join(served.directory, 'data');
    const load = new Load(served.url, 8);
    const acked: Map<string, number>[] = [];
    let last: CliResult | undefined;
    for (let run = 0; run < 3; run++) {
      const enough = load.acked.size + 400;
      await until('enough is acknowledged', () => load.acked.size >= enough);
      acked.push(new Map(load.acked));
      last = await log('backup', data, backup, '--json');
      expect(last).toMatchObject({ code: 0, stderr: '' });
    }
    const report = JSON.parse(last!.stdout) as Record<string, number>;
    expect(report.kept).toBeGreaterThan(0);
    expect(report).toMatchObject({ verified: true });
    // beyond the backup
    const enough = load.acked.size + 100;
    await until('enough is acknowledged', () => load.acked.size >= enough);
    expect(await served.kill('SIGKILL')).toBe('SIGKILL');
    await load.stop();

    const restored = await log('restore', backup, copy);
    expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining(`up to offset ${report.head}`) });
    await using again = new CliProcess(['serve', '--port', '0', '--data', copy, ...flags]);
    const port = Number(await again.until(() => /:(\d+)\//.exec(again.stdout)?.[1]));
    const records = await recordsOf(`http://127.0.0.1:${port}`);
    expect(Math.max(...records.values())).toBe(report.head);
    for (const [id, offset] of acked.at(-1)!) expect([id, records.get(id)]).toEqual([id, offset]);
    const client = await SseClient.open(port, 'filter=%23', { 'last-event-id': load.cursor });
    expect(await client.notice('reset')).toMatchObject({ reason: expect.stringMatching(/^(epoch|ahead)$/) });
    client.close();
    // a second restore over it is refused
    expect(await log('restore', backup, copy)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('holds a log already'),
    });
  });

  test('killed in the middle it is no backup, and the next run finishes it', { timeout: 60_000 }, async () => {
    await using served = await Served.start(flags);
    const data = join(served.directory, 'data');
    const lines = Array.from({ length: 20_000 }, (_, i) => `{"topic":"t","data":"${`${i} `.padEnd(500, 'x')}"}\n`);
    await runCli(['pub', '--ndjson'], { env: served.env, input: lines.join('') });
    const backup = join(root, 'torn');
    await using running = new CliProcess(['log', 'backup', data, backup]);
    await until('three segments are there', () => segmentsIn(backup) >= 3);
    running.kill('SIGKILL');
    expect(await running.ended()).toBe('SIGKILL');
    expect(await log('restore', backup, join(root, 'none'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^tailrace: there is no finished backup in .*`tailrace log backup`/),
    });
    expect(existsSync(join(root, 'none'))).toBe(false);
    const finished = await log('backup', data, backup, '--json');
    expect(JSON.parse(finished.stdout)).toMatchObject({ head: 20_000, kept: expect.any(Number) });
    expect((JSON.parse(finished.stdout) as { kept: number }).kept).toBeGreaterThan(0);
    expect((await log('restore', backup, join(root, 'whole'))).code).toBe(0);
    expect((await log('verify', join(root, 'whole'))).stdout).toContain('20000 records');
  });

  test('a restore that is killed leaves no log, and every command says what to do', { timeout: 60_000 }, async () => {
    const copy = join(root, 'half');
    await using running = new CliProcess(['log', 'restore', join(root, 'torn'), copy]);
    await until('three segments are there', () => segmentsIn(copy) >= 3);
    running.kill('SIGKILL');
    expect(await running.ended()).toBe('SIGKILL');
    const names = readdirSync(copy);
    const whatToDo = {
      code: 1,
      stderr: expect.stringMatching(
        /^tailrace: the restore to .*half was cut short .*: .* remove the directory and run `tailrace log restore <backup> .*half` again\n$/,
      ),
    };
    expect(await runCli(['serve', '--port', '0', '--data', copy])).toMatchObject(whatToDo);
    for (const command of ['verify', 'repair', 'dump', 'stats'])
      expect(await log(command, copy)).toMatchObject(whatToDo);
    expect(await log('backup', copy, join(root, 'of half'))).toMatchObject(whatToDo);
    const rules = '[{"filter":"#","keep":{"last":1}}]';
    expect(await log('compact', copy, '--rules', rules)).toMatchObject(whatToDo);
    expect(await log('restore', join(root, 'torn'), copy)).toMatchObject(whatToDo);
    expect(readdirSync(copy)).toEqual(names);
    rmSync(copy, { recursive: true });
    expect((await log('restore', join(root, 'torn'), copy)).code).toBe(0);
    expect((await log('verify', copy)).stdout).toContain('20000 records');
  });
});

test('a destination inside a data directory or a backup is refused', { timeout: 60_000 }, async () => {
  await using served = await Served.start();
  const data = join(served.directory, 'data');
  await runCli(['pub', 't', '"x"'], { env: served.env });
  const backup = join(root, 'outside');
  expect((await log('backup', data, backup)).code).toBe(0);
  expect(await runCli(['serve', '--port', '0', '--data', backup])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /outside is a backup: make a log of it with `tailrace log restore .*outside <directory>`/,
    ),
  });
  const link = join(root, 'link');
  symlinkSync(data, link);
  const inside = (directory: string, what: string): object => ({
    code: 1,
    stderr: expect.stringMatching(
      new RegExp(`^tailrace: .* is inside ${directory}, which is ${what}: choose a directory outside of it\\n$`),
    ),
  });
  for (const to of [join(data, 'in'), join(data, 'further', 'in'), join(link, 'in')])
    expect(await log('backup', data, to)).toMatchObject(inside(data, 'a data directory'));
  expect(await log('backup', data, join(backup, 'in'))).toMatchObject(inside(backup, 'a backup'));
  expect(await log('restore', backup, join(data, 'in'))).toMatchObject(inside(data, 'a data directory'));
  expect(await log('restore', backup, join(backup, 'in'))).toMatchObject(inside(backup, 'a backup'));
  for (const directory of [data, backup]) expect(readdirSync(directory)).not.toContain('in');
  expect(readdirSync(data)).not.toContain('further');
  // beside the data directory, or again into the same place, is well
  for (const to of [join(served.directory, 'beside'), backup]) expect((await log('backup', data, to)).code).toBe(0);
  // the directory itself, which no server has run on
  const copy = join(root, 'itself');
  expect((await log('restore', backup, copy)).code).toBe(0);
  const names = readdirSync(copy);
  expect(await log('backup', copy, copy)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('cannot be its own backup'),
  });
  expect(readdirSync(copy)).toEqual(names);
});

describe('log stats', () => {
  test('of a directory in use, and of the same after it', async () => {
    await using served = await Served.start(flags);
    const data = join(served.directory, 'data');
    const lines = Array.from(
      { length: 1000 },
      (_, i) =>
        `{"topic":"${i % 10 === 0 ? 'many/bytes' : `few/${i % 3}`}","id":"${i}","data":"${'x'.repeat(i % 10 === 0 ? 5000 : 50)}"}\n`,
    );
    await runCli(['pub', '--ndjson'], { env: served.env, input: lines.join('') });
    const inUse = JSON.parse((await log('stats', data, '--json')).stdout) as Record<string, unknown>;
    const expected = {
      records: 1000,
      first: 1,
      last: 1000,
      topics: {
        count: 4,
        exact: true,
        largestByBytes: [{ topic: 'many/bytes', records: 100 }, {}, {}, {}],
        largestByRecords: [{ records: 300 }, { records: 300 }, { records: 300 }, { topic: 'many/bytes' }],
      },
      epochs: [{ first: 1 }],
      notes: [],
    };
    expect(inUse).toMatchObject(expected);
    expect(await served.kill('SIGTERM')).toBe(0);
    const after = JSON.parse((await log('stats', data, '--json')).stdout) as Record<string, unknown>;
    expect(after).toMatchObject({
      ...expected,
      dedupe: { checkpoint: { offset: 1000, ids: 1000, producers: 0 }, recordsBehind: 0 },
    });
    const { stdout } = await log('stats', data, '--top', '1');
    expect(stdout).toMatch(/^log \w+: \d+ segments, \d+ bytes, 1000 records, offsets 1 to 1000$/m);
    expect(stdout).toMatch(/^de-duplication 1000 ids and 0 producers up to offset 1000 \(\d+ bytes\), 0 records/m);
    expect(stdout).toMatch(/^largest by bytes\n {2}\d+ bytes {2}100 records {2}many\/bytes\nlargest by records$/m);
  });
});
