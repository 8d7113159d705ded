// Makes a log of many topics: each has one record, in an order that scatters neighbours all over it; one more topic has
// a thousand records, evenly spread.
import { execFileSync } from 'node:child_process';
import type { Message } from '@tailrace/protocol';
import { openDiskLog } from '../../packages/server/src/log/index.ts';
import { makePayload } from '../load/payload.ts';
import { unsyncedDisk } from './disks.ts';
import { message } from './message.ts';
import { followedTopic, topicOf } from './topics.ts';

export interface BuildJob {
  directory: string;
  topics: number;
  /** About so many bytes of log. */
  bytes: number;
}

export interface BuildResult {
  bytes: number;
  records: number;
  milliseconds: number;
}

/** Records of the followed topic. */
export const followedRecords = 1_000;

/** What the log keeps of a record beside its payload, about. */
const besidesPayload = 62;
/** A prime that divides no usual number of topics: steps of it come to all of them. */
const stride = 6_700_417;
/** Every so many records one has an id. */
const idEvery = 100;
const bytesOfAppend = 1_000_000;
const appendsInFlight = 4;

export async function build({ directory, topics, bytes }: BuildJob): Promise<BuildResult> {
  const began = performance.now();
  const log = await openDiskLog({ directory, disk: unsyncedDisk, hotBytes: 0 });
  const data = makePayload(Math.round(bytes / topics) - besidesPayload);
  const followedEvery = Math.floor(topics / followedRecords);
  const inFlight: Promise<unknown>[] = [];
  let messages: Message[] = [];
  for (let i = 0; i < topics; i++) {
    if (i % followedEvery === 0 && i < followedEvery * followedRecords) messages.push(message(followedTopic, data));
    messages.push(message(topicOf((i * stride) % topics), data, i % idEvery === 0 ? `id-${i}` : undefined));
    if (messages.length * data.length < bytesOfAppend && i < topics - 1) continue;
    inFlight.push(log.append(messages, 'written'));
    messages = [];
    if (inFlight.length === appendsInFlight) await inFlight.shift();
  }
  await Promise.all(inFlight);
  const records = log.head.offset;
  await log.close();
  const size = log.status.bytes;
  execFileSync('sync', ['--file-system', directory]);
  return { bytes: size, records, milliseconds: performance.now() - began };
}
