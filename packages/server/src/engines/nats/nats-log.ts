import { capabilitiesOf } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import type { Random } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import { withoutPassword } from '../../log/without-password.ts';
import { type BrokerLog, openBrokerLog } from '../broker/broker-log.ts';
import { headBytes } from '../broker/entry.ts';
import { JetStreamPartition } from './jetstream-partition.ts';

export interface NatsLogOptions extends CommonLogOptions {
  /** `nats://[user:password@]host:port[,host:port]`, or `tls://` for TLS. */
  readonly url: string;
  /** What the names of its streams begin with; one log for each. */
  readonly name?: string | undefined;
  /** Servers that keep each record, for a stream that is made. */
  readonly replicas?: number | undefined;
  /** The servers sync each write, which they tell nobody. */
  readonly synced?: boolean | undefined;
  /** Class that the stream must be able to keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  /** How long the start waits for the server, ms. */
  readonly startTimeout?: number | undefined;
  /** Of records and their ages. What waits for the server waits in real time. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

const startTimeoutDefault = 10_000;
/** A tail that has been silent for longer is stuck, ms: an idle one is heard of every second. */
const silenceMost = 2500;
/** Of one request, at most. */
const requestBytes = 4 * 1024 * 1024;

/**
 * Opens the log that lives in a stream of JetStream, or begins it. Rejects when no server answers in time, or the stream
 * must not be used (`judgeServer`).
 */
export async function openNatsLog(options: NatsLogOptions): Promise<BrokerLog> {
  const { url, name, replicas, synced, durability, clock, random, onReport } = options;
  const { age, bytes } = options.retention ?? {};
  const partition = new JetStreamPartition({
    ...{ url, name, replicas, synced, durability, clock, random, onReport },
    retention: { age, bytes },
  });
  const stopWatch = systemClock.after(options.startTimeout ?? startTimeoutDefault, () => void partition.close());
  try {
    await partition.open();
    const recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
    return await openBrokerLog({
      ...options,
      recordBytes: Math.min(recordBytes, partition.entryBytes - headBytes),
      partition,
      requestBytes,
      capabilities: { ...capabilitiesOf.nats, durabilities: partition.durabilities },
      broker: 'NATS',
      silenceMost,
    });
  } catch (error) {
    await partition.close();
    const why = partition.lastError === '' ? (error as Error).message : partition.lastError;
    throw new Error(`the log cannot be opened: NATS at ${withoutPassword(url)} does not serve it: ${why}`);
  } finally {
    stopWatch();
  }
}
