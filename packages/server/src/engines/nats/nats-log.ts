import { capabilitiesOf } from '../../log/capabilities.ts';
import { systemClock } from '../../log/clock.ts';
import type { Log } from '../../log/log.ts';
import { logDefaults } from '../../log/options.ts';
import { systemRandom } from '../../log/random.ts';
import { joined, openEach, shareOf } from '../all-partitions.ts';
import { type BrokerLog, openBrokerLog } from '../broker/broker-log.ts';
import { headBytes } from '../broker/entry.ts';
import type { LedgerOptions } from '../broker/groups/ledger-replica.ts';
import { notServed } from '../not-served.ts';
import { nodeBytes } from '../numbered-messages.ts';
import type { Partitioned, ServerLogOptions } from '../server-options.ts';
import { type JetStreamOptions, JetStreamPartition } from './jetstream-partition.ts';
import { NatsLive } from './live.ts';
import { Names, nameDefault } from './names.ts';

/** `url`: see `readAddress`. */
export interface NatsLogOptions extends ServerLogOptions {
  /** Servers that keep each record, for a stream that is made. */
  readonly replicas?: number | undefined;
  /** The servers sync each write, which they tell nobody. */
  readonly synced?: boolean | undefined;
  readonly groups?: LedgerOptions | undefined;
}

export interface PartitionedOptions extends NatsLogOptions, Partitioned {}

const startTimeoutDefault = 10_000;
/** A tail that has been silent for longer is stuck, ms: an idle one is heard of every second. */
const silenceMost = 2500;
/** How long what nodes say of themselves is kept, ms. */
const beatsKept = 10 * 60 * 1000;
/** Of one request, at most. */
const requestBytes = 4 * 1024 * 1024;

/**
 * Opens the log that lives in one stream of JetStream, or begins it. Rejects when no server answers in time, or the stream
 * must not be used (`judgeServer`).
 */
export async function openNatsLog(options: NatsLogOptions): Promise<BrokerLog> {
  const [log] = await openAll(options, 1);
  return log!;
}

/** The same in one stream or several. */
export async function openNatsPartitions({ partitions, ...options }: PartitionedOptions): Promise<Log> {
  return joined(await openAll(options, partitions), options);
}

async function openAll(options: NatsLogOptions, count: number): Promise<readonly BrokerLog[]> {
  const { url, name, replicas, synced, durability, clock, random, onReport } = options;
  const share = shareOf(options, count);
  const logName = name ?? nameDefault;
  const partitions = Array.from(
    { length: count },
    (_, index) =>
      new JetStreamPartition({
        ...{ url, name, index, count, replicas, synced, durability, clock, random },
        retention: share.retention,
        // the connections of all come and go together: one of them tells
        onReport: index === 0 ? onReport : undefined,
      }),
  );
  const live = new NatsLive({
    url,
    subject: new Names(logName, 0).live,
    node: (random ?? systemRandom).id(nodeBytes),
    report: report => onReport?.(report),
  });
  const close = (): Promise<unknown> => Promise.all([live, ...partitions].map(part => part.close()));
  const stopWatch = systemClock.after(options.startTimeout ?? startTimeoutDefault, () => void close());
  try {
    // the first makes what they share
    await partitions[0]!.open();
    await live.ready;
    await Promise.all(partitions.slice(1).map(partition => partition.open()));
    const recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
    return await openEach(count, index => {
      const partition = partitions[index]!;
      return openBrokerLog({
        ...options,
        ...share,
        recordBytes: Math.min(recordBytes, partition.entryBytes - headBytes),
        partition,
        index,
        live: index === 0 ? live : undefined,
        requestBytes,
        capabilities: { ...capabilitiesOf.nats, durabilities: partition.durabilities },
        broker: 'NATS',
        silenceMost,
        openLedger: async () => ledgerBeside(partition, `${logName}-groups`, { ...options, index, count }),
        openNodes: index === 0 ? async () => nodesBeside(partition, `${logName}-nodes`, options) : undefined,
      });
    });
  } catch (error) {
    await close();
    const { lastError } = partitions[0]!;
    const why = lastError === '' ? (error as Error).message : lastError;
    throw notServed('NATS', url, why);
  } finally {
    stopWatch();
  }
}

/** What the groups of a partition of the log do, as well kept as that. */
function ledgerBeside(partition: JetStreamPartition, name: string, options: JetStreamOptions): JetStreamPartition {
  const { url, index, count, replicas, random } = options;
  return new JetStreamPartition({ url, name, index, count, replicas, random, times: 'broker', beside: partition });
}

function nodesBeside(partition: JetStreamPartition, name: string, options: JetStreamOptions): JetStreamPartition {
  const { url, replicas, random } = options;
  const retention = { age: beatsKept };
  return new JetStreamPartition({ url, name, replicas, random, retention, times: 'broker', beside: partition });
}
