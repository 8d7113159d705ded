// A log that keeps house while it is published to through a socket: one byte is one publish, one byte its ack.
import { existsSync, readdirSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Message } from '@tailrace/protocol';
import { workBesideServer } from '../../packages/server/src/cli/beside-server.ts';
import { indexName, newestSegments } from '../../packages/server/src/log/disk/segment/segment-name.ts';
import { backup, type DiskLog, logDefaults, openDiskLog } from '../../packages/server/src/log/index.ts';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import { makePayload } from '../load/payload.ts';
import { sleep, until } from '../wait.ts';
import { LoopDelay } from './appends.ts';
import { unsyncedDisk } from './disks.ts';
import { message } from './message.ts';
import { topicOf } from './topics.ts';

/** What goes on beside the publishes. */
export type Chore = 'nothing' | 'compaction' | 'seal' | 'scrub' | 'backup';

export interface FurnishJob {
  directory: string;
  bytes: number;
}

export interface OpenHouseJob {
  directory: string;
  /** Path of the socket. */
  door: string;
  chore: Chore;
}

export interface KeepHouseJob {
  chore: Chore;
  /** How long what has no end of its own goes on. */
  windowMs: number;
}

export interface HouseResult {
  seconds: number;
  delay: LoopDelay;
  /** The most there was at once, in bytes. */
  resident: number;
  cpu: CpuShares;
}

export interface BackUpJob {
  directory: string;
  to: string;
}

/** Every second record is of a table, and most of those have a newer one of their key. */
const tables = 1_000;
const keysOfTable = 20;
const tableFilter = 'table/#';
const batchRecords = 500;
/** Bytes of log that the publishes fill in about one and a half seconds: the warm-up and a little more. */
const edgeBytes = 400 * 1024;
const rollWithin = 60_000;

const data = makePayload();
const ack = Buffer.from([1]);

/** Makes the segments that are compacted, re-read and backed up. */
export async function furnish({ directory, bytes }: FurnishJob): Promise<void> {
  const log = await openDiskLog({ directory, disk: unsyncedDisk, hotBytes: 0 });
  await appendUpTo(log, bytes);
  await log.close();
}

let house: House | undefined;

export async function openHouse({ directory, door, chore }: OpenHouseJob): Promise<void> {
  const log = await openDiskLog({
    directory,
    hotBytes: 2 ** 20,
    keep: { rules: [{ filter: tableFilter, lastPerKey: true }] },
    // at the pace of the default, however small the log is
    scrub: { intervalMs: chore === 'scrub' ? 1 : 0, bytesPerSecond: 8 * 2 ** 20 },
  });
  const before = log.status.bytes;
  if (chore === 'seal') await appendUpTo(log, before + logDefaults.segmentBytes - edgeBytes);
  house = new House(log, directory, door);
}

export async function keepHouse({ chore, windowMs }: KeepHouseJob): Promise<HouseResult> {
  const { log } = house!;
  const meter = new CpuMeter([]);
  const delay = new LoopDelay();
  const began = performance.now();
  let resident = 0;
  const looking = setInterval(() => {
    resident = Math.max(resident, process.memoryUsage.rss());
  }, 100);
  if (chore === 'compaction') await log.compact();
  else if (chore === 'seal') await house!.sealed();
  else await sleep(windowMs);
  clearInterval(looking);
  delay.stop();
  return { seconds: (performance.now() - began) / 1000, delay, resident, cpu: meter.readAlone() };
}

export async function closeHouse(): Promise<void> {
  await house?.close();
}

/** In a process of its own, as an operator does it. */
export async function backUp({ directory, to }: BackUpJob): Promise<void> {
  workBesideServer();
  await backup(directory, to, { now: Date.now(), verify: true });
}

class House {
  readonly log: DiskLog;
  readonly #directory: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(log: DiskLog, directory: string, door: string) {
    this.log = log;
    this.#directory = directory;
    this.#server = createServer(socket => this.#serve(socket)).listen(door);
  }

  /** Resolves when the segment that is open now is full and has its index. */
  async sealed(): Promise<void> {
    const active = newestSegments(readdirSync(this.#directory)).at(-1)!;
    const index = join(this.#directory, indexName(active.name));
    if (!(await until(() => existsSync(index), rollWithin))) throw new Error(`${index} did not appear`);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await this.log.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('data', asked => {
      for (let i = 0; i < asked.length; i++)
        this.log.append([message('live/beside', data)], 'fsync').then(
          () => socket.write(ack),
          error => socket.destroy(error),
        );
    });
  }
}

/** Half of it of topics of their own, half of tables. */
async function appendUpTo(log: DiskLog, bytes: number): Promise<void> {
  for (let number = 0; log.status.bytes < bytes; number += batchRecords) {
    const count = bytes - log.status.bytes < 2 ** 20 ? batchRecords / 10 : batchRecords;
    const messages: Message[] = [];
    for (let i = number; i < number + count; i += 2) {
      messages.push(message(topicOf(i), data));
      const entry = (i * 7_919) % (tables * keysOfTable);
      messages.push({ ...message(`table/${entry % tables}`, data), key: `key-${entry}` });
    }
    await log.append(messages, 'written');
  }
}
