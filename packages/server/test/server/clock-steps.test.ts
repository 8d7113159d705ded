import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CliProcess } from '../cli/cli-process.ts';

const hour = 60 * 60 * 1000;
const stepped = new URL('stepped-clock.ts', import.meta.url).href;

interface Line {
  readonly offset: number;
  readonly time: number;
}

/** `tailrace serve` whose wall clock can be set while it runs. */
class SteppedServer implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'tailrace-clock-'));
  process!: CliProcess;
  url = '';

  /** Steps the clock to so many ms beside that of the machine. */
  step(ms: number): void {
    // a number of one length, so that no look finds half of it
    writeFileSync(join(this.directory, 'step'), String(ms).padStart(20), { flag: 'w' });
  }

  async start(...flags: string[]): Promise<void> {
    const args = ['serve', '--port', '0', '--data', join(this.directory, 'data'), '--segment.bytes', '64KiB', ...flags];
    this.process = new CliProcess([...args, '--hot.bytes', '64KiB', '--limits.message', '16KiB'], {
      env: { NODE_OPTIONS: `--import=${stepped}`, CLOCK_STEP_FILE: join(this.directory, 'step') },
    });
    const { process } = this;
    this.url = await process.until(() => /at (http:\S+)\/\n/.exec(process.stdout)?.[1]);
  }

  async stop(): Promise<void> {
    this.process.kill('SIGTERM');
    expect(await this.process.ended()).toBe(0);
  }

  /** Publishes so many records of 2 kB; the offset of the last. */
  async publish(count: number): Promise<number> {
    const line = `${JSON.stringify({ topic: 't', data: 'x'.repeat(2000) })}\n`;
    const response = await fetch(`${this.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: line.repeat(count),
    });
    expect(await response.text()).toContain(`"accepted":${count}`);
    return this.metric('tailrace_log_head_offset');
  }

  async records(from: string): Promise<Line[]> {
    const response = await fetch(`${this.url}/v1/log?filter=t&from=${from}`);
    const lines = (await response.text()).trimEnd().split('\n');
    expect(lines.pop()).toContain('"done":true');
    return lines.map(line => JSON.parse(line) as Line);
  }

  async metric(name: string): Promise<number> {
    const metrics = await (await fetch(`${this.url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)![1]);
  }

  /** Waits for a line of the server's log of this kind. */
  told(kind: string): Promise<unknown> {
    const { process } = this;
    return process.until(() => process.stderr.includes(`"kind":"${kind}"`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

let server: SteppedServer;
beforeEach(() => {
  server = new SteppedServer();
  server.step(0);
});
afterEach(() => server[Symbol.asyncDispose]());

test('a clock that steps an hour on and back while records are published removes nothing and hides nothing', async () => {
  await server.start('--retention.age', '30m', '--retention.grace', '0s', '--retention.bytes', '1MiB');
  const phases = [{ step: 0, last: await server.publish(100) }];
  for (const step of [hour, 0, -hour, 0]) {
    server.step(step);
    phases.push({ step, last: await server.publish(40) });
  }
  const all = await server.records('earliest');
  expect(all.map(({ offset }) => offset)).toEqual(Array.from({ length: 260 }, (_, i) => i + 1));
  const times = all.map(({ time }) => time);
  expect(times.every((time, i) => i === 0 || time >= times[i - 1]!)).toBe(true);
  // the second phase was an hour ahead, and what followed stood still there
  expect(times[139]! - times[99]!).toBeGreaterThan(hour - 60_000);
  expect(times[259]! - times[139]!).toBeLessThan(60_000);

  // who asks for a time gets all records from then on, perhaps some before
  for (const time of [times[0]!, times[50]!, times[99]! + 1, times[120]!, times[139]!, times[200]!, times[259]!]) {
    const first = times.findIndex(each => each >= time);
    const found = await server.records(new Date(time).toISOString());
    expect(found[0]!.offset).toBeLessThanOrEqual(first + 1);
    expect(found.at(-1)!.offset).toBe(260);
  }
  for (const { step, last } of phases) {
    server.step(step);
    const next = await server.publish(1);
    expect((await server.records('-5m')).at(-1)!.offset).toBe(next);
    expect(next).toBeGreaterThan(last);
  }

  // a sweep by age, which looks before it removes by bytes: what is not too many bytes stays
  server.step(hour);
  const kept = await server.publish(400);
  await server.told('retention');
  expect(await server.metric('tailrace_retention_waiting_bytes')).toBe(0);
  const left = await server.records('earliest');
  expect(left.at(-1)!.offset).toBe(kept);
  expect(await server.metric('tailrace_log_bytes')).toBeGreaterThan(1024 * 1024 - 64 * 1024);
}, 60_000);

test('a clock that is wrong at the start removes nothing for `retention.grace`, which the metric shows', async () => {
  await server.start('--retention.age', '30m');
  const last = await server.publish(200);
  await server.stop();
  server.step(hour);
  await server.start('--retention.age', '30m');
  await server.told('retention_waits');
  expect(await server.metric('tailrace_retention_waiting_bytes')).toBeGreaterThan(200_000);
  expect(await server.metric('tailrace_log_floor_offset')).toBe(0);
  expect(await server.records('earliest')).toHaveLength(last);
  // it is set right, and the server started anew
  await server.stop();
  server.step(0);
  await server.start('--retention.age', '30m');
  expect(await server.records('earliest')).toHaveLength(last);
  expect(await server.metric('tailrace_retention_waiting_bytes')).toBe(0);
}, 60_000);
