import { connect, type Socket } from 'node:net';
import type { Random } from '../../src/log/index.ts';
import { Served } from '../cli/served.ts';

/** What one whole-server run saw: for the test to judge and for people to read. */
export interface KilledServerReport {
  rounds: number;
  acked: number;
  /** Records that the subscriber got, each once. */
  received: number;
  /** Records that came again over a reconnect: at least once on the wire. */
  repeated: number;
  reconnects: number;
  unanswered: number;
}

interface Acked {
  readonly id: string;
  readonly offset: number;
}

/**
 * The server as a user runs it, killed with SIGKILL (or stopped with SIGTERM) at random moments while publishers publish
 * over HTTP and a subscriber follows by SSE with Last-Event-ID. Throws at the first message that was acknowledged and is
 * not there, is there twice, or out of order (I1, I3).
 */
export async function killServer(
  rounds: number,
  random: Random,
  signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL',
): Promise<KilledServerReport> {
  const report: KilledServerReport = { rounds: 0, acked: 0, received: 0, repeated: 0, reconnects: 0, unanswered: 0 };
  await using served = await Served.start(['--log.level', 'silent', '--segment.bytes', '1MiB']);
  const acked: Acked[] = [];
  const follower = new Follower(served.port, report);
  for (let round = 0; round < rounds; round++) {
    const stop = { now: false };
    const publishers = Array.from({ length: 4 }, (_, p) =>
      publishUntilCut(served.port, `${round}-${p}`, acked, stop, report),
    );
    const target = acked.length + 1 + Math.floor(random.next() * 400);
    while (acked.length < target) await turn();
    const gone = served.kill(signal);
    stop.now = true;
    const code = await gone;
    if (signal === 'SIGTERM' && code !== 0) throw new Error(`round ${round}: SIGTERM ended with ${code}`);
    await Promise.all(publishers);
    await served.startAgain();
    report.rounds++;
  }
  report.acked = acked.length;
  const last = Math.max(...acked.map(({ offset }) => offset));
  await follower.until(last);
  follower.close();
  await checkLog(served.url, acked, follower);
  return report;
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** One connection that publishes, several requests in flight, until it is cut. */
async function publishUntilCut(
  port: number,
  name: string,
  acked: Acked[],
  stop: { now: boolean },
  report: KilledServerReport,
): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  let sent = 0;
  let answered = 0;
  let text = '';
  const send = (): void => {
    const body = JSON.stringify({ id: `${name}-${sent++}` });
    socket.write(
      `POST /v1/topics/crash/${name} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  };
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (;;) {
      const head = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
      if (head === -1 || text.length < head + 4 + length) return;
      const status = text.slice(9, 12);
      const body = text.slice(head + 4, head + 4 + length);
      text = text.slice(head + 4 + length);
      const id = `${name}-${answered++}`;
      if (status === '200') acked.push({ id, offset: (JSON.parse(body) as { offset: number }).offset });
      else if (status !== '503') throw new Error(`publish answered ${status}: ${body}`);
      if (!stop.now) send();
    }
  });
  socket.on('connect', () => {
    for (let i = 0; i < 8; i++) send();
  });
  await new Promise(resolve => socket.once('close', resolve));
  report.unanswered += sent - answered;
}

/** An SSE subscriber that comes back with the last id it saw, as an EventSource does. */
class Follower {
  /** id of each record by offset. */
  readonly records = new Map<number, string>();
  readonly #port: number;
  readonly #report: KilledServerReport;
  #lastId: string | undefined;
  #socket: Socket | undefined;
  #closed = false;
  #check: (() => void) | undefined;
  #newest = 0;

  constructor(port: number, report: KilledServerReport) {
    this.#port = port;
    this.#report = report;
    this.#connect();
  }

  /** Resolves when the record at `offset` has come. */
  until(offset: number): Promise<void> {
    return new Promise(resolve => {
      this.#check = () => {
        if (this.#newest >= offset) resolve();
      };
      this.#check();
    });
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect(this.#port, '127.0.0.1');
    this.#socket = socket;
    let text = '';
    let inBody = false;
    let previous = 0;
    socket.on('error', () => {});
    socket.on('connect', () => {
      const resume = this.#lastId === undefined ? '' : `Last-Event-ID: ${this.#lastId}\r\n`;
      socket.write(
        `GET /v1/sse?filter=crash/%23&from=earliest HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n${resume}\r\n`,
      );
    });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!inBody) {
        const end = text.indexOf('\r\n\r\n');
        if (end === -1) return;
        inBody = true;
        text = text.slice(end + 4);
      }
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) previous = this.#take(block, previous);
      this.#check?.();
    });
    socket.on('close', () => {
      this.#report.reconnects++;
      if (!this.#closed) setTimeout(() => this.#connect(), 20);
    });
  }

  #take(block: string, previous: number): number {
    const id = /^id: (.*)$/m.exec(block)?.[1];
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (/^event: tailrace$/m.test(block)) {
      const notice = JSON.parse(data!) as { type: string; recovered?: boolean };
      if (notice.type === 'gap' || notice.type === 'reset') throw new Error(`a follower was told ${block}`);
      if (notice.recovered === false) throw new Error(`not recovered: ${block}`);
    } else if (data !== undefined) {
      const envelope = JSON.parse(data) as { offset: number; data: { id: string } };
      if (envelope.offset <= previous) throw new Error(`offset ${envelope.offset} after ${previous} on one connection`);
      if (this.records.has(envelope.offset)) this.#report.repeated++;
      else {
        if (envelope.offset <= this.#newest) throw new Error(`offset ${envelope.offset} is new after ${this.#newest}`);
        this.records.set(envelope.offset, envelope.data.id);
        this.#report.received++;
      }
      this.#newest = Math.max(this.#newest, envelope.offset);
      if (id !== undefined) this.#lastId = id;
      return envelope.offset;
    }
    if (id !== undefined) this.#lastId = id;
    return previous;
  }
}

/** Every acked message is in the log once, at the offset of its ack, and the follower saw exactly the log. */
async function checkLog(url: string, acked: readonly Acked[], follower: Follower): Promise<void> {
  const text = await (await fetch(`${url}/v1/log?filter=crash/%23&from=earliest`)).text();
  const log = new Map<number, string>();
  const ids = new Set<string>();
  for (const line of text.trimEnd().split('\n')) {
    const record = JSON.parse(line) as { done?: boolean; offset: number; data?: { id: string } };
    if (record.done === true) continue;
    if (record.data === undefined) throw new Error(`the log cannot be read: ${line}`);
    if (ids.has(record.data.id)) throw new Error(`${record.data.id} is in the log twice`);
    ids.add(record.data.id);
    log.set(record.offset, record.data.id);
  }
  checkOrder('acks', acked);
  checkOrder(
    'records',
    [...log].map(([offset, id]) => ({ id, offset })),
  );
  for (const { id, offset } of acked) {
    if (log.get(offset) !== id)
      throw new Error(`${id} was acked at ${offset}, where the log holds ${log.get(offset) ?? 'nothing'}`);
    if (follower.records.get(offset) !== id) throw new Error(`${id} at ${offset} never reached the subscriber`);
  }
  for (const [offset, id] of follower.records)
    if (log.get(offset) !== id) throw new Error(`the subscriber saw ${id} at ${offset}, which the log does not hold`);
}

/** Each publisher's messages come one after the other, at growing offsets. */
function checkOrder(what: string, told: readonly Acked[]): void {
  const newest = new Map<string, { number: number; offset: number }>();
  for (const { id, offset } of told) {
    const dash = id.lastIndexOf('-');
    const publisher = id.slice(0, dash);
    const number = Number(id.slice(dash + 1));
    const last = newest.get(publisher);
    if (last !== undefined && (number <= last.number || offset <= last.offset))
      throw new Error(`${what}: ${id} at ${offset} comes after number ${last.number} at ${last.offset}`);
    newest.set(publisher, { number, offset });
  }
}
