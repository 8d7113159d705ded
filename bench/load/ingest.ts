// Publishing without subscribers: pipelined requests, and one NDJSON body that streams.
import { connect } from 'node:net';
import { CpuMeter, type CpuShares } from '../cpu.ts';
import type { Quantiles } from '../histogram.ts';
import { sleep, until } from '../wait.ts';
import { readTarget, readText } from './counting.ts';
import type { Window } from './fanout.ts';
import { makePayload } from './payload.ts';
import { Publisher, type PublishTarget } from './publisher.ts';

export interface PipelineJob extends Window {
  target: PublishTarget;
  serverPids: number[];
  /** Requests in flight on the one connection. */
  depth: number;
}

export interface PipelineResult {
  publishesPerSecond: number;
  ack: Quantiles;
  refused: number;
  cpu: CpuShares;
}

export async function pipeline(job: PipelineJob): Promise<PipelineResult> {
  const publisher = await Publisher.open(job.target, { connections: 1, depth: job.depth });
  try {
    const meter = new CpuMeter(job.serverPids);
    publisher.start(job.depth);
    await sleep(job.warmUpMs);
    publisher.windowOpen = true;
    meter.start();
    const began = { at: performance.now(), acked: publisher.acked };
    await sleep(job.windowMs);
    const ended = { at: performance.now(), acked: publisher.acked };
    publisher.windowOpen = false;
    const cpu = meter.read();
    await publisher.stop();
    return {
      publishesPerSecond: ((ended.acked - began.acked) * 1000) / (ended.at - began.at),
      ack: publisher.ackTimes.quantiles(),
      refused: publisher.refused,
      cpu,
    };
  } finally {
    publisher.close();
  }
}

export interface NdjsonJob extends Window {
  target: PublishTarget;
  serverPids: number[];
  topic: string;
}

export interface NdjsonResult {
  /** From the first byte of the body to the last line of the answer. */
  recordsPerSecond: number;
  sent: number;
  accepted: number;
  cpu: CpuShares;
}

export async function ndjson(job: NdjsonJob): Promise<NdjsonResult> {
  if (job.warmUpMs > 0) await streamLines(job, job.warmUpMs);
  const meter = new CpuMeter(job.serverPids);
  const began = performance.now();
  const { sent, accepted } = await streamLines(job, job.windowMs);
  return { recordsPerSecond: (accepted * 1000) / (performance.now() - began), sent, accepted, cpu: meter.read() };
}

const blockLength = 64 * 1024;
const blocksAtOnce = 4;
const answerWithin = 60_000;

/** Streams lines for `milliseconds`, as fast as the server reads, ends the body and waits for the answer's last line. */
async function streamLines(job: NdjsonJob, milliseconds: number): Promise<{ sent: number; accepted: number }> {
  const line = `{"topic":"${job.topic}","data":${makePayload()}}\n`;
  const lines = Math.floor(blockLength / Buffer.byteLength(line));
  const body = line.repeat(lines);
  const block = Buffer.from(`${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`);

  let answer = '';
  let failure: string | undefined;
  const socket = connect({
    port: job.target.port,
    host: '127.0.0.1',
    noDelay: true,
    onread: {
      buffer: readTarget,
      callback: length => {
        // progress lines are of no interest: the last line comes at the end, and a few hundred bytes hold it
        answer = (answer + readText(length)).slice(-4096);
        return true;
      },
    },
  });
  socket.on('error', error => {
    failure ??= error.message;
  });
  socket.on('close', () => {
    failure ??= 'the server closed the connection';
  });
  socket.write(
    `POST ${job.target.path} HTTP/1.1\r\nHost: 127.0.0.1:${job.target.port}\r\n` +
      'Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n',
  );

  let blocks = 0;
  let streaming = true;
  const writeNext = (): void => {
    if (!streaming || failure !== undefined) return;
    blocks++;
    socket.write(block, writeNext);
  };
  for (let index = 0; index < blocksAtOnce; index++) writeNext();
  await sleep(milliseconds);
  streaming = false;
  socket.write('0\r\n\r\n');

  const last = /\{[^{}\n]*"done":true[^{}\n]*\}/;
  await until(() => last.test(answer) || failure !== undefined, answerWithin);
  socket.removeAllListeners('close');
  socket.destroy();
  const accepted = /"accepted":(\d+)/.exec(last.exec(answer)?.[0] ?? '')?.[1];
  if (accepted === undefined) throw new Error(`NDJSON: no last line (${failure ?? 'time-out'}): ${answer.slice(-600)}`);
  return { sent: blocks * lines, accepted: Number(accepted) };
}
