import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { frameHeaderBytes } from '../../src/log/disk/segment/frame.ts';
import { type ScannedFrame, scanSegment } from '../../src/log/disk/segment/scan.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../../src/log/disk/segment/segment-header.ts';
import { runCli } from '../cli/cli-process.ts';
import { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { WsClient } from '../gateway/ws-client.ts';

const count = 2000;

type Line = Record<string, unknown> & { readonly offset?: number; readonly error?: Record<string, unknown> };

/** A server whose second segment was damaged while it ran, and where. */
class DamagedServer implements AsyncDisposable {
  readonly served: Served;
  readonly segment: string;
  readonly frame: number;
  readonly bad: ScannedFrame;

  private constructor(served: Served, segment: string, frame: number, bad: ScannedFrame) {
    this.served = served;
    this.segment = segment;
    this.frame = frame;
    this.bad = bad;
  }

  /** `at`: where in the middle frame of the segment a bit is changed. */
  static async start(at: number): Promise<DamagedServer> {
    const served = await Served.start([
      '--segment.bytes',
      '64KiB',
      '--hot.bytes',
      '64KiB',
      '--limits.message',
      '16KiB',
    ]);
    const lines = Array.from(
      { length: count },
      (_, i) => `{"topic":"t/${i % 2}","data":"${`${i} `.padEnd(100, 'x')}"}\n`,
    );
    await runCli(['pub', '--ndjson'], { env: served.env, input: lines.join('') });
    const data = join(served.directory, 'data');
    const segment = readdirSync(data)
      .filter(name => name.endsWith('.log'))
      .sort()[1]!;
    const content = readFileSync(join(data, segment));
    const { frames } = scanSegment(content, decodeSegmentHeader(content) as SegmentHeader);
    const frame = frames.findIndex((each, i) => i >= frames.length / 2 && each.count > 0);
    const bad = frames[frame]!;
    const fd = openSync(join(data, segment), 'r+');
    writeSync(fd, Buffer.of(content[bad.position + at]! ^ 0x10), 0, 1, bad.position + at);
    closeSync(fd);
    return new DamagedServer(served, segment, frame, bad);
  }

  /** Where the damage is, as every error and log line names it. */
  get place(): string {
    return `segment ${this.segment}, frame ${this.frame}, position ${this.bad.position}, offset ${this.bad.first}: `;
  }

  async lines(query: string): Promise<{ status: number; lines: Line[] }> {
    const response = await fetch(`${this.served.url}/v1/log?${query}`);
    const text = await response.text();
    return {
      status: response.status,
      lines: text
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line) as Line),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.served[Symbol.asyncDispose]();
  }
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

describe.each([
  ['a record', frameHeaderBytes + 70],
  ['the header of a frame', 20],
] as const)('%s damaged under a running server', (what, at) => {
  test('every reader gets what comes before it and an error that names it; publishing and live delivery go on', async () => {
    await using damaged = await DamagedServer.start(at);
    const { served, bad, place } = damaged;
    const { port, url } = served;
    const problem = {
      code: 'log_damaged',
      status: 500,
      retry: 'later',
      retryAfter: 60_000,
      detail: expect.stringMatching(
        new RegExp(`^${place}.*run \`tailrace log verify\` .* stop the server and run \`tailrace log repair\``),
      ),
    };
    const before = upTo(bad.first - 1);

    // GET /v1/log: in the last line, or as a problem when nothing comes before it
    const { status, lines } = await damaged.lines('filter=%23');
    expect(status).toBe(200);
    expect(lines.pop()).toEqual({ error: expect.objectContaining(problem) });
    expect(lines.map(({ offset }) => offset)).toEqual(before);
    const inside = await damaged.lines(`filter=%23&from=@${bad.first}`);
    expect(inside).toMatchObject({ status: 500, lines: [problem] });

    // SSE: the stream ends, and an EventSource comes back in a minute with the cursor before the damage
    const sse = await SseClient.open(port, 'filter=%23&from=earliest');
    expect(await sse.notice('error')).toMatchObject(problem);
    expect(await sse.raw.over()).toMatch(/retry: 60000\n\n(?:\r\n0\r\n\r\n)?$/);
    expect(sse.offsets).toEqual(before);
    sse.close();

    // WebSocket: that subscription ends, the session and its others do not
    const ws = await WsClient.open(port);
    await ws.ask({ type: 'subscribe', ref: 1, subscriptions: [{ sub: 'live', filter: 'live' }] });
    ws.send({ type: 'subscribe', ref: 2, subscriptions: [{ sub: 'old', filter: '#', from: 'earliest' }] });
    expect(await ws.first('error')).toMatchObject({ ...problem, sub: 'old' });
    expect(await ws.first('unsubscribed')).toEqual({ type: 'unsubscribed', sub: 'old', code: 'log_damaged' });
    expect(ws.offsets('old')).toEqual(before);
    const published = await ws.ask({ type: 'publish', ref: 3, messages: [{ topic: 'live', data: 'on' }] });
    expect(published).toMatchObject({ results: [{ offset: count + 1, duplicate: false }] });
    expect(await ws.received(1, 'live')).toEqual([count + 1]);
    expect((await fetch(`${url}/v1/topics/live`, { method: 'POST', body: '1' })).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    ws.close();

    // long-poll: one subscription of several that cannot be read is told and the others are answered
    const polled = await fetch(`${url}/v1/poll?wait=0`, {
      method: 'POST',
      body: JSON.stringify({
        subscribe: [
          { sub: 'damaged', filter: '#', from: `@${bad.first}` },
          { sub: 'sound', filter: 'live', from: `@${count + 1}` },
        ],
      }),
    });
    const { frames } = (await polled.json()) as { frames: Line[] };
    expect(frames.filter(({ type }) => type === 'error')).toEqual([
      expect.objectContaining({ ...problem, sub: 'damaged' }),
    ]);
    expect(frames.filter(({ type }) => type === 'messages')).toMatchObject([{ sub: 'sound' }]);

    // the operator: one log line for all of them, and a counter
    const told = served.process.stderr.split('\n').filter(line => line.includes('"kind":"damaged"'));
    expect(told.map(line => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({
        level: 50,
        at: { segment: damaged.segment, frame: damaged.frame, position: bad.position, offset: bad.first },
        msg: expect.stringContaining('tailrace log verify'),
      }),
    ]);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(Number(/^tailrace_log_damage_total (\d+)$/m.exec(metrics)![1])).toBeGreaterThanOrEqual(5);

    // who begins behind it is not kept back, as long as the frames can be told apart
    if (what === 'a record') {
      const behind = await damaged.lines(`filter=%23&from=@${bad.last + 1}`);
      expect(behind.lines.map(({ offset }) => offset).slice(0, -1)).toEqual(
        Array.from({ length: count + 2 - bad.last }, (_, i) => bad.last + 1 + i),
      );
    }

    // and after the repair everyone goes on: of the frame the damaged record is lost, the first one, and no other
    const lost = what === 'a record' ? 1 : 0;
    expect(await served.kill('SIGTERM')).toBe(0);
    expect((await runCli(['log', 'repair', join(served.directory, 'data')])).code).toBe(0);
    await served.startAgain();
    const again = await SseClient.open(port, 'filter=%23', { 'last-event-id': sse.lastId! });
    if (lost > 0) expect(await again.notice('gap')).toMatchObject({ reason: 'trimmed' });
    await again.count(count + 3 - bad.first - lost);
    expect(again.offsets[0]).toBe(bad.first + lost);
    again.close();
  });
});
