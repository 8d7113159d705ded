// Records for the streams of a log in Redis, by the server's own script but without a server: nothing is read back, and
// what is always the same is made once.
import { Redis } from 'ioredis';
import { packRecord } from '../../packages/server/src/engines/packed-record.ts';
import { Keys } from '../../packages/server/src/engines/redis/keys.ts';
import { append, argumentsOfMessage, outcome } from '../../packages/server/src/engines/redis/scripts/append.ts';
import { readStatus, status } from '../../packages/server/src/engines/redis/scripts/status.ts';
import { logDefaults } from '../../packages/server/src/log/options.ts';
import { partitionOf } from '../../packages/server/src/log/woven/partition-of.ts';
import { message } from '../log/message.ts';

/** How far clocks may be apart, ms: those of this machine are one. */
const clockSkew = 2000;
/** Messages of one call, as a server sends them. */
const batchRecords = 512;

export class StreamWriter implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #streams: readonly Stream[];
  /** Of each topic its stream and what the script is told of a message. */
  readonly #messages: readonly { readonly stream: number; readonly args: readonly (string | Buffer)[] }[];

  private constructor(redis: Redis, streams: readonly Stream[], topics: readonly string[], data: Buffer) {
    this.#redis = redis;
    this.#streams = streams;
    this.#messages = topics.map(topic => ({
      stream: partitionOf(topic, streams.length),
      args: [packRecord(message(topic, data)), topic, '', '', '', '', '', ''],
    }));
  }

  /** The log is there already: a server has opened it. Each message has the same `data`. */
  static async open(url: string, partitions: number, topics: readonly string[], data: Buffer): Promise<StreamWriter> {
    const redis = new Redis(url, { protocol: 2 });
    const streams = await Promise.all(
      Array.from({ length: partitions }, async (_, p) => {
        const keys = new Keys(partitions === 1 ? 'tailrace' : `tailrace/${p}`);
        const { id } = readStatus(await status.run(redis, keys.all, known('')));
        return new Stream(id, keys);
      }),
    );
    return new StreamWriter(redis, streams, topics, data);
  }

  /** Appends a message to each of `count` topics from number `first` on, all in one round trip. */
  async append(first: number, count: number): Promise<void> {
    const batches: (string | Buffer)[][] = this.#streams.map(() => []);
    for (let i = 0; i < count; i++) {
      const { stream, args } = this.#messages[(first + i) % this.#messages.length]!;
      batches[stream]!.push(...args);
    }
    this.#redis.stream.cork();
    const answers = batches.flatMap((batch, s) => this.#streams[s]!.append(this.#redis, batch));
    this.#redis.stream.uncork();
    const appended = (await Promise.all(answers)).reduce((sum, one) => sum + one, 0);
    if (appended !== count) throw new Error(`Redis took ${appended} of ${count} records`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#redis.quit();
  }
}

class Stream {
  readonly #id: string;
  readonly #keys: readonly string[];
  #number = 0;

  constructor(id: string, keys: Keys) {
    this.#id = id;
    this.#keys = [...keys.all, keys.batchOf('bench')];
  }

  /** How many of a batch were appended. */
  append(redis: Redis, batch: (string | Buffer)[]): Promise<number>[] {
    const calls: Promise<number>[] = [];
    const { ids, ageMs, limit, producers } = logDefaults.dedupe;
    while (batch.length > 0) {
      const messages = batch.splice(0, batchRecords * argumentsOfMessage);
      // each message is an append of its own
      const args = [...known(this.#id), ++this.#number, ids, ageMs, limit, producers, ...messages];
      calls.push(append.run(redis, this.#keys, args).then(countAppended));
    }
    return calls;
  }
}

/** What every script is told first: it does not matter to a log that is there. */
function known(id: string): (string | number)[] {
  return [id, 0, 0, 0, Date.now(), clockSkew];
}

/** Of the answer, the epoch and then three numbers a message. */
function countAppended(answer: unknown): number {
  const numbers = answer as number[];
  let count = 0;
  for (let i = 1; i < numbers.length; i += 3) if (numbers[i] === outcome.appended) count++;
  return count;
}
