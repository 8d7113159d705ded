import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { filterSet } from '@tailrace/protocol';
import { type DiskLog, openDiskLog, verify } from '../../src/log/index.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { plainMessage } from './plain-message.ts';

export interface CrashReport {
  rounds: number;
  acked: number;
  /** Records that a follower of the log had received before the kills. */
  received: number;
  kills: number;
  tailsCut: number;
  tailsCopied: number;
  sealed: number;
}

const child = path.join(import.meta.dirname, 'child.ts');

/**
 * Rounds of: a child appends, is killed at a random moment, the log is opened again and compared with what was
 * acknowledged, and with what a follower had received: everything is there, in the order of each producer, once (I1 I2
 * I3). Several rounds share a directory, then a new one begins. Goes on until `enough`. Throws at the first difference,
 * naming the seed and leaving the directory as it is.
 */
export async function crashRounds(
  directory: string,
  seed: number,
  enough: (report: CrashReport) => boolean,
): Promise<CrashReport> {
  const random = new SeededRandom(seed);
  const report = { rounds: 0, acked: 0, received: 0, kills: 0, tailsCut: 0, tailsCopied: 0, sealed: 0 };
  let data = '';
  let segmentBytes = 0;
  for (let round = 0; !enough(report); round++) {
    if (round % 5 === 0) {
      if (data !== '') fs.rmSync(data, { recursive: true });
      data = path.join(directory, `data-${round}`);
      fs.mkdirSync(data, { recursive: true });
      segmentBytes = random.pick([16 * 1024, 128 * 1024, 1024 * 1024, 4 * 1024 * 1024]);
    }
    try {
      await crashOnce(data, `${seed}${round}`, segmentBytes, random, report);
    } catch (error) {
      throw new Error(`round ${round} of seed ${seed} failed; the log is in ${data}`, { cause: error });
    }
    report.rounds++;
  }
  if (data !== '') fs.rmSync(data, { recursive: true });
  return report;
}

async function crashOnce(
  data: string,
  seed: string,
  segmentBytes: number,
  random: SeededRandom,
  report: CrashReport,
): Promise<void> {
  const logDirectory = path.join(data, 'log');
  const acks = path.join(data, 'acks');
  const received = path.join(data, 'received');
  const process = spawn(
    globalThis.process.execPath,
    [child, logDirectory, acks, received, seed, String(segmentBytes)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      // without it a third of a round goes into stripping the same types again
      env: { ...globalThis.process.env, NODE_COMPILE_CACHE: path.join(os.tmpdir(), 'tailrace-compile-cache') },
    },
  );
  await ready(process);
  // work happens in real time here: the moment of the kill is what is random
  await new Promise(resolve => setTimeout(resolve, random.next() * 40));
  process.kill('SIGKILL');
  await new Promise(resolve => process.once('exit', resolve));
  report.kills++;

  const acked = readLines(acks);
  const followed = readLines(received);
  const log = await openDiskLog({
    directory: logDirectory,
    segmentBytes,
    hotBytes: 64 * 1024,
    onReport({ kind, message }) {
      if (kind === 'tail_cut') report.tailsCut++;
      if (kind === 'tail_copied') report.tailsCopied++;
      if (kind === 'fenced' || kind === 'seal_failed') throw new Error(message);
    },
  });
  try {
    await compare(log, acked, followed);
    await republish(log, acked, random);
    report.sealed += log.status.segments - 1;
  } finally {
    await log.close();
  }
  const { damages } = await verify(logDirectory);
  if (damages.length > 0) throw new Error(`verify finds ${JSON.stringify(damages)}`);
  report.acked += acked.length;
  report.received += followed.length;
}

/** A record as the child was told of it: by an ack, or as a follower. */
interface Told {
  readonly topic: string;
  readonly offset: number;
  readonly id: string;
}

function readLines(file: string): Told[] {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  // the kill may have cut the last line in two
  lines.pop();
  return lines.map(line => {
    const [topic, offset, id] = line.split(' ');
    return { topic: topic!, offset: Number(offset), id: id! };
  });
}

/** The writer of a child that an id names, and the record's place among all that this writer sent. */
function producerOf(id: string): { producer: string; batch: number; index: number } | undefined {
  const match = /^(\d+-\d+)-(\d+)-(\d+)$/.exec(id);
  return match === null ? undefined : { producer: match[1]!, batch: Number(match[2]), index: Number(match[3]) };
}

async function compare(log: DiskLog, acked: readonly Told[], received: readonly Told[]): Promise<void> {
  const byOffset = new Map<number, { topic: string; id: string | undefined }>();
  const ids = new Set<string>();
  const order = new ProducerOrder();
  const everything = filterSet(['#']);
  for (let after = 0; after < log.head.offset; ) {
    const slice = await log.read(after, log.head.offset, everything, 256 * 1024);
    if (slice.after !== after || slice.next <= after) throw new Error(`reading stops at ${after}`);
    for (const record of slice.records) {
      if (record.offset !== byOffset.size + 1) throw new Error(`offset ${record.offset} follows ${byOffset.size}`);
      byOffset.set(record.offset, record);
      const key = `${record.topic} ${record.id}`;
      if (ids.has(key)) throw new Error(`${key} is there twice`);
      ids.add(key);
      order.next(record.id ?? '');
    }
    after = slice.next;
  }
  for (const [what, told] of Object.entries({ acked, received }))
    for (const { topic, offset, id } of told) {
      const record = byOffset.get(offset);
      if (record?.id !== id || record.topic !== topic)
        throw new Error(`${what} ${id} at ${offset} of ${topic}; there is ${JSON.stringify(record)}`);
    }
  const ackOrder = new ProducerOrder();
  for (const { id } of acked) ackOrder.next(id);
  const followed = new Set(received.map(({ offset }) => offset));
  if (followed.size !== received.length) throw new Error('a follower received a record twice');
  for (const { id, offset } of acked)
    if (!followed.has(offset)) throw new Error(`${id} was acked at ${offset} before the follower received it`);
}

/** A writer sends one batch after the other: none of its records may be missing before another, or come before it. */
class ProducerOrder {
  readonly #last = new Map<string, { batch: number; index: number }>();

  next(id: string): void {
    const place = producerOf(id);
    if (place === undefined) return;
    const { producer, batch, index } = place;
    const last = this.#last.get(producer) ?? { batch: -1, index: 0 };
    const follows = batch === last.batch ? index === last.index + 1 : batch === last.batch + 1 && index === 0;
    if (!follows) throw new Error(`${id} follows batch ${last.batch}, record ${last.index} of its writer`);
    this.#last.set(producer, place);
  }
}

/** What was acked is recognised when it is sent again, and new records follow the head. */
async function republish(log: DiskLog, acks: readonly Told[], random: SeededRandom): Promise<void> {
  if (acks.length > 0) {
    const { topic, offset, id } = random.pick(acks);
    const [result] = await log.append([plainMessage(topic, 'again', id)], 'fsync');
    if (result === undefined || 'error' in result || !result.duplicate || result.offset !== offset)
      throw new Error(`${id}, acked at ${offset}, was taken again: ${JSON.stringify(result)}`);
  }
  const head = log.head.offset;
  const [result] = await log.append([plainMessage('after', 'new', `after-${head}`)], 'fsync');
  if (result === undefined || 'error' in result || result.offset !== head + 1)
    throw new Error(`the first offset after ${head} is ${JSON.stringify(result)}`);
}

function ready(process: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    process.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('ready\n')) resolve();
    });
    process.once('exit', code => reject(new Error(`the child ended with ${code}: ${output}`)));
  });
}
