import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import { own } from '../../../src/log/disk/files/ownership.ts';
import { openDiskLog } from '../../../src/log/index.ts';
import { message, until } from '../messages.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const source = path.resolve(import.meta.dirname, '../../../src/log/disk/files/ownership.ts');

/** A process that owns the directory until it is killed. */
function owner(directory: string): Promise<{ pid: number; kill: () => Promise<void> }> {
  const script = `const { own } = await import(${JSON.stringify(source)}); await own(${JSON.stringify(directory)}); process.stdout.write('owned'); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    child.once('exit', code => reject(new Error(`the owner ended with ${code}`)));
    child.stdout.once('data', () => {
      const ended = new Promise<void>(done => child.once('exit', () => done()));
      resolve({
        pid: child.pid!,
        kill: () => {
          child.kill('SIGKILL');
          return ended;
        },
      });
    });
  });
}

interface HeldStart {
  goOn(): void;
  /** What it says at last: `owned`, or why not. */
  readonly ended: Promise<string>;
}

/** A start in another process that stands still behind the link of its socket, or before it gives its term the name. */
async function heldStart(directory: string, at: 'its socket' | 'its term'): Promise<HeldStart> {
  const go = path.join(directory, 'go');
  const patch =
    at === 'its socket'
      ? `const { linkSync } = fs; fs.linkSync = (from, to) => { linkSync(from, to); wait(); };`
      : `const { renameSync } = fs; fs.renameSync = (from, to) => { if (to.endsWith('term')) wait(); renameSync(from, to); };`;
  const script = `
    const { default: fs } = await import('node:fs');
    const { syncBuiltinESMExports } = await import('node:module');
    const wait = () => {
      fs.writeSync(1, 'held\\n');
      while (!fs.existsSync(${JSON.stringify(go)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    };
    ${patch}
    syncBuiltinESMExports();
    const { own } = await import(${JSON.stringify(source)});
    await own(${JSON.stringify(directory)}).then(() => process.stdout.write('owned'), error => process.stdout.write(error.message));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  const ended = new Promise<string>(resolve => child.once('close', () => resolve(said.replaceAll('held\n', ''))));
  await Promise.race([
    until('it stands still', () => said.includes('held')),
    ended.then(all => Promise.reject(new Error(`it ended: ${all}`))),
  ]);
  return { goOn: () => fs.writeFileSync(go, ''), ended };
}

describe('a data directory', () => {
  test('has one owner: a second is refused by name, and may come when the first has closed', async () => {
    const directory = temporaryDirectory();
    const first = await openDiskLog({ directory });
    await expect(openDiskLog({ directory })).rejects.toThrow(`${directory} is in use by process ${process.pid}`);
    await first.append([message('a')], 'fsync');
    await first.close();
    expect(fs.readdirSync(directory).filter(name => name.endsWith('.sock') || name.endsWith('.tmp'))).toEqual([]);
    const second = await openDiskLog({ directory });
    expect(second.head.offset).toBe(1);
    await second.close();
  });

  test('is taken over from an owner that was killed', async () => {
    const directory = temporaryDirectory();
    const other = await owner(directory);
    await expect(own(directory)).rejects.toThrow(`process ${other.pid}`);
    await other.kill();
    expect(fs.existsSync(path.join(directory, 'owner.sock'))).toBe(true);
    const mine = await own(directory);
    expect(mine).toMatchObject({ tookOver: true });
    expect(mine.lost()).toBe(false);
    await expect(own(directory)).rejects.toThrow(`process ${process.pid}`);
    await mine.release();
  });

  test('goes to one of many that start at once', async () => {
    const directory = temporaryDirectory();
    await (await owner(directory)).kill();
    const starts = await Promise.allSettled(Array.from({ length: 8 }, () => own(directory)));
    const owners = starts.filter(start => start.status === 'fulfilled');
    expect(owners).toHaveLength(1);
    expect(owners[0]!.value.lost()).toBe(false);
    await owners[0]!.value.release();
  });

  test('an owner whose term was replaced knows it', async () => {
    const directory = temporaryDirectory();
    const mine = await own(directory);
    fs.writeFileSync(path.join(directory, 'other'), '{}');
    fs.renameSync(path.join(directory, 'other'), path.join(directory, 'term'));
    expect(mine.lost()).toBe(true);
    await mine.release();
  });

  test('that is taken over from a start which has just its socket goes to who took it over', async () => {
    const directory = temporaryDirectory();
    const start = await heldStart(directory, 'its socket');
    const mine = await own(directory, { takeOver: true });
    start.goOn();
    expect(await start.ended).toMatch(/another process has taken over the data directory .* while this one started/);
    expect(mine.lost()).toBe(false);
    await expect(own(directory)).rejects.toThrow(`is in use by process ${process.pid}`);
    await mine.release();
    expect(fs.readdirSync(directory).sort()).toEqual(['go', 'term']);
  });

  test('that is taken over from a start in the middle of its term has no owner who does not know it', async () => {
    const directory = temporaryDirectory();
    const start = await heldStart(directory, 'its term');
    const mine = await own(directory, { takeOver: true });
    start.goOn();
    expect(await start.ended).toMatch(/another process has taken over the data directory .* while this one started/);
    // its term is replaced: it gives way as well, and a plain start may follow
    expect(mine.lost()).toBe(true);
    await mine.release();
    const next = await own(directory);
    expect(next.lost()).toBe(false);
    await next.release();
  });

  test('may have a path longer than a socket address', async () => {
    const directory = path.join(temporaryDirectory(), 'x'.repeat(120), 'y'.repeat(120));
    const log = await openDiskLog({ directory });
    await expect(openDiskLog({ directory })).rejects.toThrow('is in use by process');
    await log.close();
  });
});
