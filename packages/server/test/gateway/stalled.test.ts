import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Bystander } from './bystander.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { getRequest } from './raw-client.ts';
import { RoomProcess } from './room-process.ts';
import { SseClient } from './sse-client.ts';

const MiB = 1024 * 1024;
const lowat = '/proc/sys/net/ipv4/tcp_notsent_lowat';

/** Sets how much unsent data the kernel takes for a socket, where this process may. */
function setLowat(value: string): string | undefined {
  try {
    const before = readFileSync(lowat, 'utf8').trim();
    writeFileSync(lowat, value);
    return before;
  } catch {
    return undefined;
  }
}

/** Bytes that all TCP sockets hold in the kernel; undefined where it does not tell. */
function tcpMemory(): number | undefined {
  try {
    const pages = /^TCP: .* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))?.[1];
    return pages === undefined ? undefined : Number(pages) * 4096;
  } catch {
    return undefined;
  }
}

/** An event stream that can stop reading, and checks offsets as they pass instead of keeping bytes. */
class Reader {
  readonly socket: Socket;
  readonly step: number;
  /** Leaves once it has got so many. */
  leavesAfter: number = Number.POSITIVE_INFINITY;
  opened = false;
  closed = false;
  count = 0;
  last = 0;
  wrong = '';
  #carry: Buffer = Buffer.alloc(0);

  constructor(port: number, filter: string, step: number) {
    this.step = step;
    this.socket = connect({ port, host: '127.0.0.1' });
    this.socket.write(getRequest(`/v1/sse?filter=${encodeURIComponent(filter)}`));
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('error', () => {});
  }

  #read(chunk: Buffer): void {
    this.opened = true;
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk]);
    let at = 0;
    for (;;) {
      const start = bytes.indexOf('"offset":', at);
      if (start === -1) break;
      const end = bytes.indexOf(',', start);
      if (end === -1) break;
      const offset = Number(bytes.toString('latin1', start + 9, end));
      if (this.last !== 0 && offset !== this.last + this.step) this.wrong ||= `${offset} after ${this.last}`;
      this.last = offset;
      this.count++;
      at = end;
    }
    if (this.count >= this.leavesAfter) this.socket.destroy();
    // what is left may begin with half a name or number
    this.#carry = Buffer.from(bytes.subarray(Math.max(at, bytes.length - 40)));
  }
}

/** Of the thousand: those that follow all topics, and how many of these read everything once they read on. */
const followEverything = 600;
const readToTheEnd = 30;

describe('a thousand readers that stall', () => {
  let before: string | undefined;
  beforeAll(() => {
    before = setLowat('65536');
  });
  afterAll(() => {
    if (before !== undefined) setLowat(before);
  });

  const rooms: RoomProcess[] = [];
  const open = async (): Promise<RoomProcess> => {
    const room = await RoomProcess.open();
    rooms.push(room);
    return room;
  };
  const readers: Reader[] = [];
  afterEach(async () => {
    for (const reader of readers.splice(0)) reader.socket.destroy();
    for (const room of rooms.splice(0)) await room.close();
  });

  let tcpGrew: number | undefined;

  it('cost no memory while 100 MB flow by, and get everything once they read on', { timeout: 180_000 }, async () => {
    const topics = 32;
    const messages = topics * 320; // of 10 kB: 102 MB
    const room = await open();
    const fast = new Reader(room.port, 't/#', 1);
    readers.push(fast);
    await until(() => fast.opened, 'the fast reader open', 60_000);
    // fills the hot tail and warms everything up; who will stall comes later, or the kernel would give it large buffers
    await room.publish(messages, 10_000, topics);
    await until(() => fast.count === messages, 'warm', 60_000);
    // most follow everything, the others one topic
    const stalling = Array.from({ length: 1000 }, (_, i) =>
      i < followEverything ? new Reader(room.port, 't/#', 1) : new Reader(room.port, `t/${i % topics}`, topics),
    );
    // all of it to all of them would be 60 GB: that is for some, the others go on for a while
    for (const reader of stalling.slice(readToTheEnd, followEverything)) reader.leavesAfter = 300;
    readers.push(...stalling);
    await until(() => stalling.every(reader => reader.opened), 'all open', 60_000);
    for (const { socket } of stalling) socket.pause();
    const start = await room.state();
    const tcpStart = tcpMemory();
    const began = performance.now();
    await room.publish(messages, 10_000, topics);
    const flowed = performance.now() - began;
    await until(() => fast.count === 2 * messages, 'the fast reader', 60_000);
    const stalled = await room.state();
    const tcp = tcpMemory();
    if (tcp !== undefined && tcpStart !== undefined) tcpGrew = tcp - tcpStart;
    const grew = (stalled.memory.rss - start.memory.rss) / MiB;
    const peaked = (stalled.memory.peak - start.memory.rss) / MiB;
    const { lagging, pinnedBytes } = stalled.sizes;
    console.log(
      `1,000 stalled readers, 102 MB in ${Math.round(flowed)} ms: RSS +${grew.toFixed(1)} MiB (peak +${peaked.toFixed(1)}), ` +
        `${lagging} lagging, ${Math.round(pinnedBytes! / 1024)} KiB pinned, TCP +${Math.round((tcpGrew ?? Number.NaN) / MiB)} MiB, refused ${stalled.overloaded - start.overloaded}`,
    );
    expect(lagging).toBe(1000);
    expect(stalled.cut).toEqual({});
    expect(grew).toBeLessThan(24);
    const readOn = performance.now();
    for (const { socket } of stalling) socket.resume();
    const wanted = ({ step, leavesAfter }: Reader): number => Math.min(messages / step, leavesAfter);
    await until(
      () => stalling.every(reader => reader.count >= wanted(reader) || reader.closed),
      () => `everything: ${stalling.filter(reader => reader.count < wanted(reader)).length} still read`,
      120_000,
    );
    const end = await room.state();
    const bytes = stalling.reduce((sum, reader) => sum + reader.count * 10_000, 0);
    console.log(
      `read on: ${(bytes / 1e9).toFixed(1)} GB in ${Math.round(performance.now() - readOn)} ms, RSS +${((end.memory.rss - start.memory.rss) / MiB).toFixed(1)} MiB`,
    );
    expect(end.cut).toEqual({});
    expect(stalling.map(reader => reader.wrong).filter(text => text !== '')).toEqual([]);
    expect(fast.wrong).toBe('');
    const staying = stalling.filter(({ leavesAfter }) => leavesAfter === Number.POSITIVE_INFINITY);
    expect(staying).toHaveLength(1000 - followEverything + readToTheEnd);
    expect(staying.filter(reader => reader.closed || reader.count !== wanted(reader))).toEqual([]);
    expect(stalling.filter(reader => reader.count < wanted(reader))).toEqual([]);
    expect(end.faults).toEqual([]);
  });

  // a test of its own, so that the summary of the run names it where it cannot be judged
  it('cost the kernel less than 300 MiB with net.ipv4.tcp_notsent_lowat at 65536', ctx => {
    if (before === undefined) {
      console.warn(
        `NOT CHECKED: what stalled readers cost the kernel. It needs root on Linux, which may write ${lowat}`,
      );
      ctx.skip();
    }
    expect(tcpGrew).toBeLessThan(300 * MiB);
  });

  it('read on while messages go on', { timeout: 120_000 }, async () => {
    const room = await open();
    for (let i = 0; i < 150; i++) readers.push(new Reader(room.port, 't/#', 1));
    await until(() => readers.every(reader => reader.opened), 'all open', 60_000);
    await room.publish(100, 10_000, 4);
    await until(() => readers.every(reader => reader.count === 100), 'warm', 60_000);
    for (const { socket } of readers) socket.pause();
    const start = await room.state();
    await room.publish(1000, 10_000, 4);
    for (const [i, { socket }] of readers.entries()) if (i % 3 !== 0) socket.resume();
    await room.publish(1000, 10_000, 4);
    for (const { socket } of readers) socket.resume();
    await room.publish(500, 10_000, 4);
    await until(
      () => readers.every(reader => reader.count >= 2600 || reader.closed),
      () => `everything: ${readers.filter(reader => reader.count < 2600).length} still read`,
      90_000,
    );
    const end = await room.state();
    const peaked = (end.memory.peak - start.memory.rss) / MiB;
    console.log(
      `150 readers reading on under load: peak +${peaked.toFixed(1)} MiB, refused ${end.overloaded}, cut ${JSON.stringify(end.cut)}`,
    );
    expect(end.cut).toEqual({});
    expect(readers.map(reader => reader.wrong).filter(text => text !== '')).toEqual([]);
  });
});

describe('one that stalls', () => {
  async function stall(options: RoomOptions): Promise<{ rooms: Rooms; client: SseClient; bystander: Bystander }> {
    const rooms = await Rooms.open(options);
    const bystander = await Bystander.open(rooms);
    const client = await SseClient.open(rooms.port, 'filter=a/%23');
    await client.notice('live');
    client.raw.socket.pause();
    return { rooms, client, bystander };
  }

  const flood = async (rooms: Rooms, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await rooms.publish(`a/${i % 4}`, `"${'x'.repeat(50_000)}"`);
  };

  async function end(rooms: Rooms, client: SseClient, bystander: Bystander): Promise<void> {
    await bystander.check();
    client.close();
    bystander.close();
    await until(() => rooms.gateway.connections.size === 0, 'all gone');
    expect(rooms.hub.catchUp.lagging.size).toBe(0);
    expect(rooms.hub.catchUp.pinnedBytes).toBe(0);
    await rooms.close();
  }

  it('is cut after stall.max without progress', async () => {
    const { rooms, client, bystander } = await stall({ hub: { stallMax: 500 } });
    await flood(rooms, 300);
    await until(() => rooms.gateway.cut.get('stalled') === 1, 'the cut');
    expect(rooms.hub.sessions.size).toBe(2);
    await end(rooms, client, bystander);
  });

  it('is cut by the rule `disconnect`, and resumes without loss', async () => {
    const lagRules = [{ filter: 'a/#', policy: 'disconnect', after: 500 }] as const;
    const { rooms, client, bystander } = await stall({ hub: { lagRules } });
    await flood(rooms, 300);
    await until(() => rooms.gateway.cut.get('lagging') === 1, 'the cut');
    client.raw.socket.resume();
    await client.raw.over();
    const before = client.offsets;
    const again = await SseClient.open(rooms.port, 'filter=a/%23', { 'Last-Event-ID': client.lastId! });
    expect(again.notices('subscribed')[0]).toMatchObject({ recovered: true });
    await until(() => before.length + again.offsets.length >= 300, 'the rest');
    expect([...before, ...again.offsets]).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    again.close();
    await end(rooms, client, bystander);
  });

  it('skips to the newest by the rule `last`, and says so', async () => {
    const lagRules = [{ filter: 'a/#', policy: 'last', after: 200 }] as const;
    const { rooms, client, bystander } = await stall({ hub: { lagRules } });
    await flood(rooms, 300);
    await until(() => rooms.hub.catchUp.lagging.size === 1, 'lagging');
    const since = performance.now();
    await until(() => performance.now() - since > 400, 'longer than the rule allows');
    client.raw.socket.resume();
    await until(() => client.offsets.at(-1) === 300, 'the newest');
    const gap = await client.notice('gap');
    expect(gap).toMatchObject({ reason: 'lagging' });
    expect(client.offsets.slice(-4)).toEqual([297, 298, 299, 300]);
    expect(client.offsets.length).toBeLessThan(300);
    const next = await rooms.publish('a/9');
    await until(() => client.offsets.includes(next), 'what comes next');
    await end(rooms, client, bystander);
  });

  it('is cut when what it holds exceeds pinned.max', async () => {
    const { rooms, client, bystander } = await stall({ hub: { pinnedMax: 40_000 } });
    await flood(rooms, 300);
    await until(() => (rooms.gateway.cut.get('pinned') ?? 0) >= 1, 'the cut');
    await end(rooms, client, bystander);
  });
});
