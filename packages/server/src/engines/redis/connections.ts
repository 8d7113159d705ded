import { RedisConnection } from './connection.ts';

/** What one log asks and hears goes over connections of its own, so that nothing waits behind a read that waits. */
export class Connections {
  readonly writer: RedisConnection;
  readonly reader: RedisConnection;
  readonly listener: RedisConnection;
  readonly #own: readonly RedisConnection[];
  /** That of the tail too, which is the tail's to close. */
  readonly #all: readonly RedisConnection[];

  /** `key`: one of those of the log; `follower`: of its tail, the one that tells when they go and come, together. */
  constructor(url: string, key: string, follower: RedisConnection) {
    this.writer = new RedisConnection(url, key, 'writer', () => {});
    this.reader = new RedisConnection(url, key, 'reader', () => {});
    this.listener = new RedisConnection(url, key, 'listener', () => {});
    this.#own = [this.writer, this.reader, this.listener];
    this.#all = [...this.#own, follower];
  }

  /** Why one of them cannot be made; '' when all stand. */
  get lastError(): string {
    return this.#all.find(({ lastError }) => lastError !== '')?.lastError ?? '';
  }

  async ready(): Promise<void> {
    await Promise.all(this.#all.map(connection => connection.ready()));
  }

  close(): void {
    for (const connection of this.#own) connection.close();
  }
}
