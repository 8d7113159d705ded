import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDiskLog } from '../../src/log/index.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';
import { type CliResult, runCli } from './cli-process.ts';
import { Served } from './served.ts';

let directory: string;
let whole: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tailrace-log-'));
  whole = join(directory, 'whole');
  await using served = await Served.start(['--segment.bytes', '64KiB']);
  const lines = Array.from({ length: 2000 }, (_, i) => `{"topic":"t/${i % 2}","data":"${`${i} `.padEnd(100, 'x')}"}\n`);
  await runCli(['pub', '--ndjson'], { env: served.env, input: lines.join('') });
  await runCli(['pub', 'text/a', 'hellö', '--key', 'k'], { env: served.env });
  await served.kill('SIGTERM');
  cpSync(join(served.directory, 'data'), whole, { recursive: true });
});
afterAll(() => rmSync(directory, { recursive: true }));

const log = (...args: string[]): Promise<CliResult> => runCli(['log', ...args]);
const parsed = ({ stdout }: CliResult): Record<string, unknown>[] =>
  stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>);

/** A copy of the log with one byte changed in the middle of its second segment. */
function damagedCopy(name: string): { path: string; segment: string } {
  const path = join(directory, name);
  cpSync(whole, path, { recursive: true });
  const segment = segmentsOf(path)[1]!;
  const bytes = readFileSync(join(path, segment));
  bytes[20_000]! ^= 0x10;
  writeFileSync(join(path, segment), bytes);
  return { path, segment };
}

const segmentsOf = (path: string): string[] =>
  readdirSync(path)
    .filter(file => file.endsWith('.log'))
    .sort();

/** A copy of the log that another server went on with. */
async function continuedCopy(name: string): Promise<string> {
  const path = join(directory, name);
  cpSync(whole, path, { recursive: true });
  // no mark of an idle log in between: both have the same segments
  await using continued = await openDiskLog({ directory: path, clock: new ManualClock(), segmentBytes: 64 * 1024 });
  for (let i = 0; i < 1500; i++) await continued.append([message('t/0', `"${name.padEnd(100)}"`)], 'written');
  return path;
}

describe('log verify', () => {
  test('a whole log', async () => {
    const { code, stdout, stderr } = await log('verify', whole);
    expect(stdout).toMatch(/2001 records, \d+ bytes, offsets 1 to 2001: the log is whole\n$/);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('names a changed byte by segment, frame and offset', async () => {
    const { path, segment } = damagedCopy('verify');
    const { code, stdout } = await log('verify', path);
    expect(stdout).toMatch(new RegExp(`damaged: segment ${segment}, frame \\d+, position \\d+, offset \\d+: `));
    expect(stdout).toContain('damaged in 1 place\n');
    expect(code).toBe(1);
    const report = parsed(await log('verify', path, '--json'))[0]!;
    expect(report.damages).toMatchObject([{ segment, offset: expect.any(Number), position: expect.any(Number) }]);
  });

  test('names a file that was put in the place of another, whole as it is', async () => {
    const [ours, theirs] = await Promise.all(['ours', 'theirs'].map(continuedCopy));
    const segment = segmentsOf(ours!).at(-2)!;
    cpSync(join(theirs!, segment), join(ours!, segment));
    const broken = new RegExp(
      `segment ${segment}, offset ${Number(segment.slice(0, 16))}: the segment does not follow`,
    );
    const { code, stdout } = await log('verify', ours!);
    expect(stdout).toMatch(broken);
    expect(code).toBe(1);
    const refused = await runCli(['serve', '--port', '0', '--data', ours!]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(broken) });
    expect((await log('dump', ours!)).code).toBe(1);
    // nothing is left out, and nobody asks again
    const repaired = await log('repair', ours!);
    expect(repaired.stdout).toMatch(/note: .* does not follow .* that was accepted/);
    expect(repaired).toMatchObject({ code: 0, stdout: expect.stringContaining('the log is whole') });
    expect(parsed(await log('dump', ours!, '--json'))).toHaveLength(2001 + 1500);
  });

  test.each([
    ['missing', (file: string) => rmSync(file), 'the file is missing'],
    [
      'damaged',
      (file: string) => writeFileSync(file, '{"pid":1\u0000'),
      '"{\\"pid\\":1\\u0000" does not name the process',
    ],
  ])('says that the term file is %s, which costs no record', async (name, change, told) => {
    const path = join(directory, `term-${name}`);
    cpSync(whole, path, { recursive: true });
    change(join(path, 'term'));
    const { code, stdout } = await log('verify', path);
    expect(stdout).toContain(`note: term: ${told}`);
    expect(stdout).toContain('the log is whole');
    expect(code).toBe(0);
    expect((await log('verify', whole)).stdout).not.toContain('term');
  });

  test('takes TAILRACE_DATA', async () => {
    expect((await runCli(['log', 'verify'], { env: { TAILRACE_DATA: whole } })).code).toBe(0);
  });

  test.each(['verify', 'dump', 'repair'])('%s of what is no log changes nothing', async command => {
    expect(await log(command, join(directory, 'nowhere'))).toMatchObject({
      code: 1,
      stderr: `tailrace: cannot read the data directory ${join(directory, 'nowhere')}: it is not there\n`,
    });
    const empty = mkdtempSync(join(directory, 'empty-'));
    expect(await log(command, empty)).toMatchObject({ code: 1, stderr: `tailrace: there is no log in ${empty}\n` });
    expect(readdirSync(empty)).toEqual([]);
  });
});

describe('log dump', () => {
  test('prints records in order, as the server would', async () => {
    const records = parsed(await log('dump', whole, '--json'));
    expect(records.map(record => record.offset)).toEqual(Array.from({ length: 2001 }, (_, i) => i + 1));
    expect(records.at(-1)).toMatchObject({ topic: 'text/a', key: 'k', contentType: 'text/plain', data: 'hellö' });
  });

  test('a part of it', async () => {
    const records = parsed(await log('dump', whole, '--json', '--filter', 't/1', '--from', '5', '--to', '8'));
    expect(records.map(({ topic, offset }) => [topic, offset])).toEqual([
      ['t/1', 6],
      ['t/1', 8],
    ]);
  });

  test('stops at damage, after what comes before it', async () => {
    const { path } = damagedCopy('dump');
    const result = await log('dump', path, '--json');
    expect(result.code).toBe(1);
    const place = /segment \d{16}\.\d{4}\.log, frame \d+, position \d+, offset \d+: /;
    expect(result.stderr).toMatch(new RegExp(`^tailrace: the log in .* is damaged: ${place.source}`));
    expect(result.stderr).toContain('`tailrace log verify`');
    expect(result.stderr).not.toContain('    at ');
    // all three name the same place
    const named = place.exec(result.stderr)![0];
    expect((await log('verify', path)).stdout).toContain(`damaged: ${named}`);
    expect((await log('repair', path)).stdout).toContain(named);
    expect(parsed(result).length).toBeGreaterThan(100);
  });
});

test('log repair saves the rest, and the server starts again', async () => {
  const { path } = damagedCopy('repair');
  // a start that knows what was published does not read complete segments
  for (const name of readdirSync(path)) if (name.endsWith('.dedupe')) rmSync(join(path, name));
  const refused = await runCli(['serve', '--port', '0', '--data', path]);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/is damaged: segment /) });

  const { code, stdout } = await log('repair', path);
  expect(stdout).toContain('the log is whole');
  expect(code).toBe(0);
  expect(readdirSync(join(path, 'quarantine')).length).toBeGreaterThan(0);
  const offsets = parsed(await log('dump', path, '--json')).map(record => record.offset as number);
  expect(offsets.length).toBeGreaterThan(1000);
  expect(offsets.at(-1)).toBe(2001);
});

test('serve goes on without what is lost only when told to', async () => {
  await using served = await Served.start();
  const data = join(served.directory, 'data');
  for (const word of ['first', 'second', 'third']) await runCli(['pub', 'words', word], { env: served.env });
  await served.kill('SIGKILL');
  const segment = join(data, readdirSync(data).find(file => file.endsWith('.log'))!);
  const bytes = readFileSync(segment);
  bytes[bytes.indexOf('first')]! ^= 1;
  writeFileSync(segment, bytes);

  const refused = await runCli(['serve', '--port', '0', '--data', data]);
  expect(refused.stderr).toMatch(/^tailrace: the log in .* is damaged: segment .* --accept-loss/m);
  expect(refused.code).toBe(1);
  await served.startAgain(['--accept-loss']);
  expect(served.process.stderr).toContain('loss_accepted');
  const { stdout } = await runCli(['replay', 'words', '--raw'], { env: served.env });
  expect(stdout).toBe('second\nthird\n');
});

describe('log compact', () => {
  const rules = '[{"filter":"t/#","keep":{"last":10}}]';

  /** A stopped log of 2,001 records; every so many-th has an id, for 0 none. */
  async function made(name: string, named = 0): Promise<string> {
    const path = join(directory, name);
    await using filled = await openDiskLog({ directory: path, segmentBytes: 64 * 1024 });
    const messages = Array.from({ length: 2001 }, (_, i) =>
      message(`t/${i % 2}`, `"${`${i} `.padEnd(100, 'x')}"`, i % named === 0 ? { id: `${i}` } : {}),
    );
    for (let i = 0; i < messages.length; i += 50) await filled.append(messages.slice(i, i + 50), 'fsync');
    return path;
  }

  test('rewrites what the rules let go, says how much, and is done once', async () => {
    const path = await made('compact');
    const bytes = (): number => segmentsOf(path).reduce((sum, file) => sum + statSync(join(path, file)).size, 0);
    const before = bytes();
    const args = [path, '--rules', rules];
    const { code, stdout, stderr } = await log('compact', ...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^rewrote \d{16}\.0000\.log as \d{16}\.0001\.log without \d+ of \d+ records$/m);
    const told = /(\d+) of (\d+) segments rewritten without (\d+) records: (\d+) bytes before, (\d+) after/.exec(
      stdout,
    )!;
    const [rewritten, segments, records, was, is] = told.slice(1).map(Number);
    expect([was, is]).toEqual([before, bytes()]);
    expect(rewritten).toBeGreaterThan(0);
    expect(rewritten).toBeLessThanOrEqual(segments!);
    const left = parsed(await log('dump', path, '--json'));
    expect(left.length).toBe(2001 - records!);
    expect(left.map(({ offset }) => offset)).toEqual(Array.from({ length: 20 }, (_, i) => 1982 + i));
    expect((await log('verify', path)).code).toBe(0);
    const again = parsed(await log('compact', ...args, '--json'))[0]!;
    expect(again).toMatchObject({ rewritten: 0, records: 0 });
    expect(again.before).toEqual(again.after);
  });

  test('says how many records stay for their ids, which keep no others', async () => {
    const path = await made('compact-ids', 4);
    const args = [path, '--rules', rules];
    const { stdout } = await log('compact', ...args);
    const [rewritten, without] = /(\d+) of \d+ segments rewritten without (\d+) records/
      .exec(stdout)!
      .slice(1)
      .map(Number);
    expect(rewritten).toBeGreaterThan(1);
    // of 501 ids five are among the last ten of their topics
    expect(stdout).toMatch(/^496 records that rules let go of stay: .*\(dedupe\.ids, dedupe\.age\)$/m);
    expect(without).toBe(2001 - 20 - 496);
    expect((await log('verify', path)).code).toBe(0);
    const off = [...args, '--dedupe.ids', '0', '--dedupe.age', '0s', '--json'];
    expect(parsed(await log('compact', ...off))[0]).toMatchObject({ records: 496, keptForDedupe: 0 });
  });

  test('without a rule that keeps less it refuses, and changes nothing', async () => {
    const { code, stderr } = await log('compact', whole);
    expect([code, stderr]).toEqual([1, expect.stringContaining('no rule has keep')]);
    expect(await log('compact', join(directory, 'nowhere'), '--rules', rules)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot read the data directory'),
    });
  });

  test('of a log that a server owns it refuses, and says what to do', async () => {
    await using served = await Served.start();
    const { code, stderr } = await log('compact', join(served.directory, 'data'), '--rules', rules);
    expect(code).toBe(1);
    expect(stderr).toMatch(/is in use by process \d+; stop it or .*a server that runs compacts by itself\n$/);
    const repaired = await log('repair', join(served.directory, 'data'));
    expect(repaired.stderr).toMatch(/is in use by process \d+; stop it or choose another directory\n$/);
    expect(stderr).not.toContain('--take-over');
  });

  test('names damage, and rewrites the rest', async () => {
    const path = await made('compact-damaged');
    const segment = segmentsOf(path)[1]!;
    const bytes = readFileSync(join(path, segment));
    bytes[20_000]! ^= 0x10;
    writeFileSync(join(path, segment), bytes);
    const { code, stdout, stderr } = await log('compact', path, '--rules', rules);
    expect(code).toBe(1);
    expect(stderr).toContain(`${segment} cannot be looked through`);
    expect(stdout).toMatch(/[1-9]\d* of \d+ segments rewritten/);
  });
});

describe('what cannot go on says what is in the way, and where, without a stack', () => {
  test('a file where the data directory should be', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    for (const data of [file, join(file, 'below')])
      expect(await runCli(['serve', '--port', '0', '--data', data])).toMatchObject({
        code: 1,
        stderr: `tailrace: cannot make the data directory ${data}: a file stands in its place; choose another with --data\n`,
      });
    expect((await log('dump', file)).stderr).toBe(
      `tailrace: cannot read the data directory ${file}: it is no directory\n`,
    );
  });

  test('a directory where an index should be', async () => {
    const path = join(directory, 'index');
    cpSync(whole, path, { recursive: true });
    const index = join(path, segmentsOf(path)[0]!.replace('.log', '.idx'));
    rmSync(index);
    mkdirSync(index);
    expect((await runCli(['serve', '--port', '0', '--data', path])).stderr).toBe(
      `tailrace: ${index} is a directory, where a file of the log should be: move it away\n`,
    );
  });

  test('a backup of what is damaged, where there was none before', async () => {
    const { path } = damagedCopy('unbacked');
    const first = await log('backup', path, join(directory, 'no backup'));
    expect(first.stderr).toMatch(/^tailrace: .* is damaged: /);
    expect(first.stderr).not.toContain('before can still be restored');
    const deleted = join(directory, 'deletions');
    cpSync(whole, deleted, { recursive: true });
    writeFileSync(join(deleted, 'deletions'), 'nonsense\n');
    expect((await log('backup', deleted, join(directory, 'none'))).stderr).toMatch(
      /^tailrace: .*deletions, which names .*, is damaged: .*\n$/,
    );
  });

  test('a damaged log, and the ways to go on', async () => {
    const { path, segment } = damagedCopy('ways');
    rmSync(join(path, segment.replace('.log', '.idx')));
    const { stderr } = await runCli(['serve', '--port', '0', '--data', path]);
    for (const way of ['`tailrace log verify`', 'backup', '`tailrace log repair`', '--accept-loss'])
      expect(stderr).toContain(way);
  });
});
