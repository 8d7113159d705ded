import {
  Base,
  type Broker,
  type Connection,
  findErrorBy,
  kGetApi,
  kGetBootstrapConnection,
  kGetConnection,
  type SASLMechanismValue,
} from '@platformatic/kafka';

/** How to reach the brokers. */
export interface KafkaAccess {
  readonly brokers: readonly Broker[];
  readonly tls: boolean;
  readonly sasl:
    | { readonly mechanism: SASLMechanismValue; readonly username: string; readonly password: string }
    | undefined;
}

const connectTimeout = 5000;

/**
 * Connections of one role to the brokers, one for each broker. A request that is silent for longer than it may be costs its
 * connection; nothing is sent a second time by the client library.
 */
export class KafkaClient {
  readonly #base: Base;
  #closed = false;

  constructor({ brokers, tls, sasl }: KafkaAccess, role: string, requestTimeout: number) {
    this.#base = new Base({
      clientId: `tailrace-${role}`,
      bootstrapBrokers: [...brokers],
      retries: 0,
      connectTimeout,
      requestTimeout,
      ...(tls ? { tls: {}, tlsServerName: true } : {}),
      ...(sasl === undefined ? {} : { sasl: { ...sasl } }),
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Resolves with a connection to this broker, or to any. */
  connect(broker?: Broker): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const settle = (error: Error | null, connection?: Connection): void =>
        error ? reject(error) : resolve(connection!);
      if (broker === undefined) this.#base[kGetBootstrapConnection](settle);
      else this.#base[kGetConnection](broker, settle);
    });
  }

  /** Sends a request in the newest version that the broker and the client library have. */
  async ask<T>(connection: Connection, name: string, args: (version: number) => readonly unknown[]): Promise<T> {
    const api = await new Promise<Api<T>>((resolve, reject) =>
      this.#base[kGetApi](name, (error, found) => (error ? reject(error) : resolve(found as unknown as Api<T>))),
    );
    return new Promise<T>((resolve, reject) =>
      api(connection, ...args(api.version), (error: Error | null, answer: T) =>
        error ? reject(error) : resolve(answer),
      ),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#base.close();
  }
}

interface Api<T> {
  (connection: Connection, ...args: [...unknown[], (error: Error | null, answer: T) => void]): void;
  readonly version: number;
}

/** Name of the first error that a broker answered with; undefined when the request or its answer did not get through. */
export function brokerError(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return innermost(error)?.apiId as string | undefined;
}

/** Says what went wrong, without what only counts attempts. */
export function reasonOf(error: unknown): string {
  const inner = innermost(error as Error) ?? (error as Error);
  const { cause } = inner;
  return cause instanceof Error ? `${inner.message}: ${cause.message}` : inner.message;
}

export function isError(error: unknown, apiId: string): boolean {
  return error instanceof Error && findErrorBy(error, 'apiId', apiId) !== null;
}

function innermost(error: Error): (Error & { readonly apiId?: unknown }) | undefined {
  let inner: Error = error;
  while (inner instanceof AggregateError && inner.errors.length > 0) inner = inner.errors[0] as Error;
  return inner;
}
