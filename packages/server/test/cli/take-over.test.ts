import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { verify } from '../../src/log/index.ts';
import { CliProcess } from './cli-process.ts';
import { freePort, Served } from './served.ts';

interface Answer {
  readonly id: string;
  readonly status: number;
  readonly offset: number | undefined;
}

/** Publishes one after another until it is told to stop or the connection is cut; ids without an answer are left over. */
class Publisher {
  readonly answers: Answer[] = [];
  unanswered: string | undefined;
  stopped = false;
  readonly #url: string;
  readonly #name: string;
  readonly done: Promise<void>;

  constructor(url: string, name: string) {
    this.#url = url;
    this.#name = name;
    this.done = this.#run();
  }

  async #run(): Promise<void> {
    for (let number = 0; !this.stopped; number++) {
      this.unanswered = `${this.#name}-${number}`;
      const answer = await publish(this.#url, this.unanswered).catch(() => undefined);
      if (answer === undefined) return;
      this.answers.push(answer);
      this.unanswered = undefined;
    }
  }
}

async function publish(url: string, id: string): Promise<Answer> {
  const response = await fetch(`${url}/v1/topics/taken/over`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'tailrace-id': id },
    body: JSON.stringify({ id }),
  });
  const { offset } = (await response.json()) as { offset?: number };
  return { id, status: response.status, offset };
}

async function records(url: string): Promise<{ offset: number; id: string }[]> {
  const text = await (await fetch(`${url}/v1/log?filter=taken/over&from=earliest`)).text();
  const lines = text.trimEnd().split('\n');
  return lines
    .map(line => JSON.parse(line) as { done?: boolean; offset: number; data: { id: string } })
    .filter(({ done }) => done !== true)
    .map(({ offset, data }) => ({ offset, id: data.id }));
}

test('I9: a stopped server is taken over; when it goes on it acknowledges nothing more, and ends', async () => {
  await using first = await Served.start(['--segment.bytes', '1MiB']);
  const data = join(first.directory, 'data');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const publishers = Array.from({ length: 8 }, (_, p) => new Publisher(first.url, `p${p}`));
  while (publishers.some(({ answers }) => answers.length < 30)) await pause(5);
  first.process.kill('SIGSTOP');

  // the kernel answers for it, so it seems to live
  await using refused = new CliProcess(['serve', '--port', String(port), '--data', data]);
  expect(await refused.ended()).toBe(1);
  expect(refused.stderr).toMatch(/is in use by process \d+.*--take-over/);

  await using second = new CliProcess(['serve', '--port', String(port), '--data', data, '--take-over']);
  await second.until(() => second.stdout.includes(`:${port}/`));
  const acked = publishers.flatMap(({ answers }) => answers).filter(({ status }) => status === 200);
  for (let i = 0; i < 20; i++) acked.push(await publish(url, `second-${i}`));

  first.process.kill('SIGCONT');
  for (const publisher of publishers) await publisher.done;
  expect(await first.process.ended()).toBe(1);
  expect(first.process.stderr).toContain('another process has taken over the data directory');
  // what had been committed when it was stopped may have been answered late: then the successor has it as well
  const late = publishers.flatMap(({ answers }) => answers).filter(({ status }) => status === 200);
  const held = new Map((await records(url)).map(({ offset, id }) => [offset, id]));
  for (const { id, offset } of [...acked, ...late]) expect(held.get(offset!)).toBe(id);

  // whoever got no answer repeats: each is there once
  const open = publishers.flatMap(({ answers, unanswered }) => [
    ...answers.filter(({ status }) => status !== 200).map(({ id }) => id),
    ...(unanswered === undefined ? [] : [unanswered]),
  ]);
  for (const id of open) expect((await publish(url, id)).status).toBe(200);
  const ids = (await records(url)).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect([...acked.map(({ id }) => id), ...open].filter(id => !ids.includes(id))).toEqual([]);
  second.kill('SIGTERM');
  expect(await second.ended()).toBe(0);
  // a write that was stopped on its way to the disk may have come to the old file afterwards: the next start puts it right
  await using third = new CliProcess(['serve', '--port', String(port), '--data', data]);
  await third.until(() => third.stdout.includes(`:${port}/`));
  expect((await records(url)).map(({ id }) => id)).toEqual(ids);
  third.kill('SIGTERM');
  expect(await third.ended()).toBe(0);
  expect((await verify(data)).damages).toEqual([]);
}, 60_000);
