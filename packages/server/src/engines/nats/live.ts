import type { Message } from '@tailrace/protocol';
import type { RecordSource } from '../../log/record.ts';
import type { LogReport } from '../../log/report.ts';
import type { BrokerLive } from '../broker/broker-log.ts';
import { NumberedMessages } from '../numbered-messages.ts';
import { KeptConnection, type Line } from './connection.ts';

export interface NatsLiveOptions {
  readonly url: string;
  readonly subject: string;
  /** Id of this node. */
  readonly node: string;
  readonly report: (report: LogReport) => void;
}

/**
 * Messages of class `none` over a subject that no stream keeps, on a connection of their own: a server cuts off who does not
 * take what it sends, and that must not cost the log its tail.
 */
export class NatsLive implements BrokerLive {
  /** Resolves when what other nodes send arrives. */
  readonly ready: Promise<void>;
  readonly #options: NatsLiveOptions;
  readonly #messages: NumberedMessages;
  readonly #connection: KeptConnection;
  readonly #running: Promise<void>;
  #line: Line | undefined;

  constructor(options: NatsLiveOptions) {
    this.#options = options;
    this.#messages = new NumberedMessages(options.node);
    // the reader of the log, which comes and goes with it, tells
    this.#connection = new KeptConnection(options.url, 'live', () => {});
    const first = Promise.withResolvers<void>();
    this.ready = first.promise;
    // one that is closed before may have nobody who waits
    this.ready.catch(() => {});
    this.#running = this.#run(first.resolve).catch(first.reject);
  }

  get lost(): number {
    return this.#messages.lost;
  }

  send(message: Message): void {
    const bytes = this.#messages.pack(message);
    const { nats } = this.#line ?? {};
    if (nats === undefined || nats.isClosed() || bytes.length > nats.info!.max_payload) return;
    nats.publish(this.#options.subject, bytes);
  }

  listen(listener: (message: RecordSource) => void): () => void {
    return this.#messages.listen(listener);
  }

  async close(): Promise<void> {
    await this.#connection.close();
    await this.#running;
  }

  /** Rejects when the connection is closed. */
  async #run(onReady: () => void): Promise<never> {
    const connection = this.#connection;
    for (;;) {
      const line = await connection.ready();
      this.#listenOn(line);
      this.#line = line;
      connection.askOn(line, ({ nats }) => nats.flush()).then(onReady, () => connection.renew(line));
      await line.lost;
      this.#line = undefined;
    }
  }

  #listenOn({ nats }: Line): void {
    const { subject, report } = this.#options;
    nats.subscribe(subject, {
      callback: (error, { data }) => {
        if (error === null) this.#messages.take(Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.length));
        else
          report({
            level: 'error',
            kind: 'engine_error',
            message: `NATS does not let this server listen to ${subject}, so that messages of durability none from others do not reach it: ${error.message}`,
          });
      },
    });
  }
}
