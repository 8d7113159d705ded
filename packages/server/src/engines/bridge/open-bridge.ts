import { crc32 } from 'node:zlib';
import { type Clock, systemClock } from '../../log/clock.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import { withoutPassword } from '../../log/without-password.ts';
import { partitionsMax } from '../../log/woven/numbering.ts';
import { type BridgedPartition, bridgedFrom, numbersPerSource } from '../../log/woven/spread.ts';
import { readAddress, type SaslMechanism } from '../kafka/address.ts';
import { KafkaCluster } from '../kafka/cluster.ts';
import { isError, reasonOf } from '../kafka/errors.ts';
import { Fetcher } from '../kafka/fetcher.ts';
import { KafkaSource } from '../kafka/source.ts';
import { BridgedLog } from './bridged-log.ts';
import { committedRecords } from './committed-records.ts';
import { Mapping } from './mapping.ts';

export interface BridgeRule {
  /** `kafka:orders`. */
  readonly from: string;
  /** `orders/{key}`. */
  readonly to: string;
}

export interface BridgeOptions extends CommonLogOptions {
  /** `kafka://[user:password@]host:port[,host:port]`, or `kafkas://` for TLS. */
  readonly url: string;
  readonly sasl?: SaslMechanism | undefined;
  /** Each names another topic of Kafka. */
  readonly rules: readonly BridgeRule[];
  /** How long the start waits for the brokers, ms. */
  readonly startTimeout?: number | undefined;
  readonly clock?: Clock | undefined;
}

const startTimeoutDefault = 15_000;
const pauseAfterError = 100;
/** Part of the memory for the newest records that is kept of each partition apart: all that comes is in the hot tail above. */
const hotShare = 0.25;

/**
 * Opens all partitions of the topics that the rules name, to be read. Nothing is written to them, and no consumer group is
 * made. Rejects when no broker answers in time, or a topic is not there.
 */
export async function openBridge(options: BridgeOptions): Promise<readonly BridgedPartition[]> {
  const { url, sasl = 'plain', rules } = options;
  const cluster = new KafkaCluster(readAddress(url, sasl));
  const stopWatch = systemClock.after(options.startTimeout ?? startTimeoutDefault, () => void cluster.close());
  const bridged: BridgedPartition[] = [];
  try {
    const sources = rules.map(({ from, to }) => ({ topic: from.slice('kafka:'.length), mapping: new Mapping(to) }));
    const counts = await Promise.all(sources.map(({ topic }, i) => partitionsOf(cluster, topic, `bridge[${i}]`)));
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total > partitionsMax / 2)
      throw new Error(
        `the topics have ${total} partitions together, and ${partitionsMax / 2} are the most that can be bridged`,
      );
    const mappings = new Map(sources.map(({ topic, mapping }) => [topic, mapping]));
    const fetcher = new Fetcher(cluster, cluster.follower, committedRecords(mappings), systemClock);
    let open = total;
    const onClose = async (): Promise<void> => {
      if (--open === 0) await cluster.close();
    };
    const hotBytes = ((options.hotBytes ?? logDefaults.hotBytes) * hotShare) / total;
    for (const [i, { topic, mapping }] of sources.entries()) {
      const growth = new Growth(topic, counts[i]!, options);
      for (let partition = 0; partition < counts[i]!; partition++) {
        const source = new KafkaSource({ cluster, fetcher, topic, partition, onClose, onLocated: growth.look });
        const filters = mapping.filtersOf(partition);
        const name = `${topic}/${partition}`;
        const only = mapping.isKeyed ? undefined : filters[0];
        const log = new BridgedLog({ ...options, hotBytes, partition: source, name, topic: only });
        bridged.push({
          ...{ log, filters, topic: only, source: name },
          number: bridgedFrom + crc32(topic) * numbersPerSource + partition,
          get stamp() {
            return Number.parseInt(log.id.slice(0, 5), 16);
          },
        });
      }
    }
    await Promise.all(bridged.map(({ log }) => (log as BridgedLog).start()));
    return bridged;
  } catch (error) {
    await Promise.all(bridged.map(({ log }) => log.close()));
    await cluster.close();
    throw new Error(
      `the bridge cannot be opened: Kafka at ${withoutPassword(url)} does not serve it: ${reasonOf(error)}`,
    );
  } finally {
    stopWatch();
  }
}

/** Tries until it is known, or the connections are closed. */
async function partitionsOf(cluster: KafkaCluster, topic: string, rule: string): Promise<number> {
  for (let why: unknown; ; ) {
    try {
      return (await cluster.locate(topic, 0)).partitions;
    } catch (error) {
      if ((error as { code?: unknown }).code === 'not_found' || isError(error, 'TOPIC_AUTHORIZATION_FAILED'))
        throw new Error(
          `there is no topic ${topic}, or this user may not see it (Read). Make it, or correct ${rule}.from`,
        );
      if (cluster.reader.isClosed) throw why ?? error;
      why = error;
    }
    await new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve));
  }
}

/** Tells of partitions that a topic has got since the start. */
class Growth {
  readonly #topic: string;
  #told: number;
  readonly #onReport: CommonLogOptions['onReport'];

  constructor(topic: string, partitions: number, { onReport }: CommonLogOptions) {
    this.#topic = topic;
    this.#told = partitions;
    this.#onReport = onReport;
  }

  readonly look = ({ partitions }: { readonly partitions: number }): void => {
    if (partitions <= this.#told) return;
    this.#onReport?.({
      level: 'warn',
      kind: 'bridge_grown',
      message:
        `topic ${this.#topic} of Kafka has ${partitions} partitions now, and ${this.#told} when this server started: what is in ` +
        'the others is given to nobody until it is started again. Cursors stay good, and begin with all of it',
    });
    this.#told = partitions;
  };
}
