import type { LogReport } from '../../log/report.ts';
import { RedisConnection } from './connection.ts';

/** What one log asks and hears goes over connections of its own, so that nothing waits behind a read that waits. */
export class Connections {
  readonly writer: RedisConnection;
  readonly follower: RedisConnection;
  readonly reader: RedisConnection;
  readonly listener: RedisConnection;
  readonly #all: readonly RedisConnection[];

  /** `key`: one of those of the log. */
  constructor(url: string, key: string, report: (report: LogReport) => void) {
    // they come and go together: one of them tells
    this.follower = new RedisConnection(url, key, 'tail', report);
    this.writer = new RedisConnection(url, key, 'writer', () => {});
    this.reader = new RedisConnection(url, key, 'reader', () => {});
    this.listener = new RedisConnection(url, key, 'listener', () => {});
    this.#all = [this.writer, this.follower, this.reader, this.listener];
  }

  /** Why one of them cannot be made; '' when all stand. */
  get lastError(): string {
    return this.#all.find(({ lastError }) => lastError !== '')?.lastError ?? '';
  }

  async ready(): Promise<void> {
    await Promise.all(this.#all.map(connection => connection.ready()));
  }

  close(): void {
    for (const connection of this.#all) connection.close();
  }
}
