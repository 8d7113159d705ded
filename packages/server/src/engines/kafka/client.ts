import { isIP } from 'node:net';
import * as library from '@platformatic/kafka';
import {
  type API,
  apiVersionsV1,
  apiVersionsV3,
  type Broker,
  type Connection,
  ConnectionPool,
} from '@platformatic/kafka';
import { brokerError, isError } from './errors.ts';

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';

/** How to reach the brokers. */
export interface KafkaAccess {
  readonly brokers: readonly Broker[];
  readonly tls: boolean;
  readonly sasl:
    | { readonly mechanism: SaslMechanism; readonly username: string; readonly password: string }
    | undefined;
}

const connectTimeout = 5000;
const software = ['tailrace', '1'] as const;

type Ranges = ReadonlyMap<string, { readonly minVersion: number; readonly maxVersion: number }>;

/**
 * Connections of one role to the brokers, one for each broker. A request that is silent for longer than it may be costs its
 * connection; nothing is sent a second time by the client library.
 */
export class KafkaClient {
  /** Of brokers that are named, and of those that have addresses alone, which TLS does not take for names. */
  readonly #named: ConnectionPool;
  readonly #numbered: ConnectionPool;
  readonly #given: readonly Broker[];
  /** Those that are asked first when any of them will do: the one that answered last is the first. */
  #brokers: readonly Broker[];
  /** Which versions of each request a connection takes: brokers differ while they are upgraded. */
  readonly #ranges = new WeakMap<Connection, Promise<Ranges>>();
  #closed = false;

  constructor({ brokers, tls, sasl }: KafkaAccess, role: string, requestTimeout: number) {
    const options = {
      connectTimeout,
      requestTimeout,
      ...(tls ? { tls: {} } : {}),
      ...(sasl === undefined ? {} : { sasl: { ...sasl } }),
    };
    this.#named = new ConnectionPool(`tailrace-${role}`, { ...options, tlsServerName: tls });
    this.#numbered = new ConnectionPool(`tailrace-${role}`, options);
    this.#given = brokers;
    this.#brokers = brokers;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** There are these brokers too, as others say. */
  learn(brokers: readonly Broker[]): void {
    const known = [...this.#given, ...brokers.map(({ host, port }) => ({ host, port }))];
    const kept = this.#brokers.filter(broker => known.some(other => isSame(other, broker)));
    for (const broker of known) if (!kept.some(other => isSame(other, broker))) kept.push(broker);
    this.#brokers = kept;
  }

  /** Resolves with a connection to this broker, or to any. */
  async connect(broker?: Broker): Promise<Connection> {
    if (broker !== undefined) return (isIP(broker.host) === 0 ? this.#named : this.#numbered).get(broker);
    const errors: unknown[] = [];
    for (const any of this.#brokers) {
      try {
        return await this.connect(any);
      } catch (error) {
        errors.push(error);
        this.#putLast(any);
      }
    }
    throw new AggregateError(errors, 'no broker can be reached');
  }

  /** Sends a request in the newest version that the broker and the client library have. */
  async ask<T>(connection: Connection, name: string, args: (version: number) => readonly unknown[]): Promise<T> {
    try {
      const api = await this.#api<T>(connection, name);
      return await new Promise<T>((resolve, reject) =>
        api(connection, ...args(api.version), (error: Error | null, answer?: T) =>
          error ? reject(error) : resolve(answer!),
        ),
      );
    } catch (error) {
      // it hangs, perhaps: then another is asked next time
      const { host, port } = connection;
      if (brokerError(error) === undefined && host !== undefined && port !== undefined) this.#putLast({ host, port });
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#named.close(), this.#numbered.close()]);
  }

  #putLast(broker: Broker): void {
    const others = this.#brokers.filter(other => !isSame(other, broker));
    if (others.length < this.#brokers.length) this.#brokers = [...others, broker];
  }

  async #api<T>(connection: Connection, name: string): Promise<API<unknown[], T>> {
    let ranges = this.#ranges.get(connection);
    if (ranges === undefined) {
      ranges = rangesOf(connection);
      this.#ranges.set(connection, ranges);
      ranges.catch(() => this.#ranges.delete(connection));
    }
    const { minVersion, maxVersion } = (await ranges).get(name) ?? { minVersion: 0, maxVersion: -1 };
    for (let version = maxVersion; version >= minVersion; version--) {
      const module = apis[`${name.slice(0, 1).toLowerCase()}${name.slice(1)}V${version}`];
      if (module?.api !== undefined) return module.api as API<unknown[], T>;
    }
    throw new Error(`the broker does not take requests of ${name} in any version that this server knows`);
  }
}

/** Requests of the client library, by name and version. */
const apis = library as unknown as Readonly<Record<string, { readonly api?: unknown } | undefined>>;

async function rangesOf(connection: Connection): Promise<Ranges> {
  let answer: apiVersionsV3.ApiVersionsResponse;
  try {
    answer = await apiVersionsV3.api.async(connection, ...software);
  } catch (error) {
    if (!isError(error, 'UNSUPPORTED_VERSION')) throw error;
    answer = await apiVersionsV1.api.async(connection, ...software);
  }
  return new Map(answer.apiKeys.map(range => [range.name, range]));
}

function isSame(one: Broker, other: Broker): boolean {
  return one.host === other.host && one.port === other.port;
}
