// What the log does in the background, beside publishes: how much later they are acknowledged.
import { execFileSync } from 'node:child_process';
import { copyFileSync, linkSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Histogram } from '../histogram.ts';
import type { Chore } from '../log/housekeeping.ts';
import { LogProcess } from '../log/log-process.ts';
import { PacedPublishes } from '../log/paced-publishes.ts';
import type { Entry, Goal, Options, Sample, Scenario } from '../scenario.ts';
import { TemporaryDirectory } from '../temporary.ts';
import { sleep } from '../wait.ts';

const publishesPerSecond = 1_000;
/** Seven segments and a part of one. */
const furnishedBytes = 480e6;
const houseWithin = 300_000;
/** Less than what is left of a segment when sealing is measured. */
const warmUpMs = 1_000;
/** By then a log that was opened has filled its next segments with zeros. */
const fillingMs = 3_000;
const mebibyte = 2 ** 20;

const figure = 'publish p99 ms';
const chores: readonly Chore[] = ['compaction', 'seal', 'scrub', 'backup'];

export function housekeepingScenarios(): Scenario[] {
  return [
    {
      name: 'log-housekeeping',
      about: `${publishesPerSecond.toLocaleString('en-US')} durable publishes/s, alone and while the log is compacted, sealed, re-read and backed up`,
      entries: [choreEntry('alone', 'nothing'), ...chores.map(chore => choreEntry(chore, chore))],
      goals: chores.map((of): Goal => ({ figure, of, to: 'alone', atMost: 2 })),
    },
  ];
}

function choreEntry(name: string, chore: Chore): Entry {
  return { name, measure: options => measureChore(options, chore) };
}

async function measureChore(options: Options, chore: Chore): Promise<Sample> {
  using home = await furnishedCopy();
  const directory = join(home.path, 'log');
  const door = join(home.path, 'door');
  await using log = new LogProcess(options.profile);
  await log.call('openHouse', { directory, door, chore });
  await using operator = chore === 'backup' ? await Operator.begin(directory, home.path) : undefined;
  await sleep(fillingMs);
  const publishes = await PacedPublishes.through(door, publishesPerSecond);
  await sleep(warmUpMs);
  publishes.acks = new Histogram();
  const kept = log.call('keepHouse', { chore, windowMs: options.windowMs }, houseWithin);
  if (chore === 'backup') await operator!.backUpUntil(kept);
  const { seconds, delay, resident, cpu } = await kept;
  const ack = publishes.acks.quantiles();
  await publishes.stop();
  await log.call('closeHouse', undefined);
  return {
    figures: {
      'publish p50 ms': ack.p50,
      [figure]: ack.p99,
      'event loop late p99 ms': delay.p99,
      'event loop late max ms': delay.max,
      seconds,
      'RSS MiB at most': resident / mebibyte,
    },
    cpu,
  };
}

/** A process of its own, whose start is not measured. */
class Operator implements AsyncDisposable {
  readonly #process = new LogProcess();
  readonly #directory: string;
  readonly #home: string;
  #number = 0;

  private constructor(directory: string, home: string) {
    this.#directory = directory;
    this.#home = home;
  }

  static async begin(directory: string, home: string): Promise<Operator> {
    const operator = new Operator(directory, home);
    await operator.#backUp();
    return operator;
  }

  /** One whole backup after another. */
  async backUpUntil(done: Promise<unknown>): Promise<void> {
    let open = true;
    const closing = done.finally(() => {
      open = false;
    });
    while (open) await this.#backUp();
    await closing;
  }

  async #backUp(): Promise<void> {
    const to = join(this.#home, `backup-${this.#number++}`);
    await this.#process.call('backUp', { directory: this.#directory, to });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

let made: Promise<TemporaryDirectory> | undefined;

/** A log of links: what is sealed is never written again. */
async function furnishedCopy(): Promise<TemporaryDirectory> {
  made ??= furnish();
  const { path } = await made;
  const copy = new TemporaryDirectory();
  const directory = join(copy.path, 'log');
  mkdirSync(directory);
  for (const name of readdirSync(path)) {
    const isSegment = name.endsWith('.log') || name.endsWith('.idx');
    (isSegment ? linkSync : copyFileSync)(join(path, name), join(directory, name));
  }
  return copy;
}

async function furnish(): Promise<TemporaryDirectory> {
  const made = new TemporaryDirectory();
  await using log = new LogProcess();
  await log.call('furnish', { directory: made.path, bytes: furnishedBytes });
  execFileSync('sync', ['--file-system', made.path]);
  return made;
}
