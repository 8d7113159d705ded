import { type Clock, systemClock } from '../../log/clock.ts';
import { type Random, systemRandom } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import type { LogReport } from '../../log/report.ts';
import type {
  BrokerPartition,
  EntryTimes,
  Following,
  NewEntry,
  PartitionListener,
  PartitionRead,
  PartitionState,
} from '../broker-partition.ts';
import { Appends } from './appends.ts';
import { KeptConnection, type Line } from './connection.ts';
import { Follower } from './follower.ts';
import { Names, nameDefault } from './names.ts';
import { Reads } from './reads.ts';
import { Seen } from './seen.ts';
import { type Judgeable, type Judged, judgeServer } from './server-settings.ts';
import { type Retention, Standing } from './standing.ts';

export interface JetStreamOptions {
  /** `nats://[user:password@]host:port[,host:port]`, or `tls://` for TLS. */
  readonly url: string;
  /** What the names of streams and subjects begin with; one log for each. */
  readonly name?: string | undefined;
  /** Which of the partitions of the log, and of how many. */
  readonly index?: number | undefined;
  readonly count?: number | undefined;
  /** Servers that keep each entry, for streams that are made. */
  readonly replicas?: number | undefined;
  /** The servers sync each write, which they tell nobody. */
  readonly synced?: boolean | undefined;
  /** Class that the server must be able to keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  /** Whose connections it shares: that one has to be closed later. */
  readonly beside?: JetStreamPartition | undefined;
  readonly times?: EntryTimes | undefined;
  /** What the server removes by itself; without either everything stays. */
  readonly retention?: Retention | undefined;
  /** Numbers epochs. What waits for the server waits in real time. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly onReport?: ((report: LogReport) => void) | undefined;
}

/** Of a batch with fewer entries in a stream without replicas each goes alone. */
const batchLeastAlone = 10;

/**
 * One partition as a stream of JetStream, whose sequences are the offsets. It holds nothing but entries; where its epochs
 * begin is written down in a small stream beside it.
 */
export class JetStreamPartition implements BrokerPartition {
  /** Classes whose promise the stream keeps; known once it is open. */
  durabilities: readonly StoredDurability[] = [];
  /** Bytes that one entry may have; known once it is open. */
  entryBytes = 0;
  readonly #options: JetStreamOptions;
  readonly #names: Names;
  readonly #seen = new Seen();
  readonly #standing: Standing;
  readonly #writer: KeptConnection;
  readonly #reader: KeptConnection;
  readonly #isAlone: boolean;
  readonly #appends: Appends;
  readonly #reads: Reads;
  #follower: Follower | undefined;

  constructor(options: JetStreamOptions) {
    this.#options = options;
    const { url, name = nameDefault, index = 0, clock = systemClock, random = systemRandom, onReport } = options;
    const names = new Names(name, index);
    this.#names = names;
    const { count = 1, replicas = 1, retention = {} } = options;
    const judge = (line: Line, stream: Judgeable): void => void this.#judge(line, stream);
    this.#standing = new Standing({ names, count, replicas, retention, judge, seen: this.#seen, clock, random });
    const { beside, times = 'writer' } = options;
    this.#isAlone = beside === undefined;
    // they come and go together: one of them tells
    this.#reader =
      beside === undefined ? new KeptConnection(url, 'reader', report => onReport?.(report)) : beside.#reader;
    this.#writer = beside === undefined ? new KeptConnection(url, 'writer', () => {}) : beside.#writer;
    this.#appends = new Appends({
      connection: this.#writer,
      names,
      seen: this.#seen,
      random,
      askState: line => this.#askState(line),
      batchLeast: () => ((this.#standing.info?.config.num_replicas ?? 1) === 1 ? batchLeastAlone : 2),
    });
    this.#reads = new Reads({ connection: this.#reader, names, times });
  }

  /** What the last attempt to connect said, while it cannot. */
  get lastError(): string {
    return this.#reader.lastError;
  }

  async open(): Promise<PartitionState> {
    const state = await this.#reader.ask(async line => {
      const told = await this.#askState(line);
      await this.#standing.applyRetention(line);
      const judged = this.#judge(line, this.#standing.info!.config);
      this.durabilities = judged.durabilities;
      this.entryBytes = judged.entryBytes;
      return told;
    });
    await this.#writer.ready();
    return state;
  }

  state(): Promise<PartitionState> {
    return this.#reader.ask(line => this.#askState(line));
  }

  append(entries: readonly NewEntry[]): Promise<readonly number[]> {
    return this.#appends.append(entries);
  }

  follow(after: number, listener: PartitionListener): Following {
    const { times = 'writer' } = this.#options;
    const follower = new Follower(
      {
        times,
        connection: this.#reader,
        names: this.#names,
        seen: this.#seen,
        askState: line => this.#askState(line),
        listener,
        onClose: () => {
          if (this.#follower === follower) this.#follower = undefined;
        },
      },
      after,
    );
    this.#follower = follower;
    return follower;
  }

  read(after: number, to: number, maxBytes: number): Promise<PartitionRead> {
    return this.#reads.read(after, to, maxBytes);
  }

  firstSince(time: number): Promise<number | undefined> {
    return this.#reads.firstSince(time);
  }

  async trim(offset: number): Promise<void> {
    if (offset < 1) return;
    // a stream takes the sequence of what stays, and nothing stays where that is far beyond its end
    await this.#reader.ask(async ({ jetstream }) => {
      const { state } = await jetstream.streams.info(this.#names.stream);
      const seq = Math.min(offset, state.last_seq) + 1;
      if (seq > state.first_seq) await jetstream.streams.purge(this.#names.stream, { seq });
    });
  }

  /** The server judges a publish that it must refuse, and has to know its stream for that. */
  async probe(): Promise<void> {
    await this.#writer.ask(line => this.#appends.probe(line));
  }

  async close(): Promise<void> {
    const closed = [this.#follower?.close(), this.#appends.close()];
    if (this.#isAlone) await Promise.all([this.#writer.close(), this.#reader.close()]);
    await Promise.all(closed);
  }

  #judge({ nats }: Line, stream: Judgeable): Judged {
    const { durability, synced = false } = this.#options;
    return judgeServer(nats.info!, stream, { durability, synced });
  }

  async #askState(line: Line): Promise<PartitionState> {
    const state = await this.#standing.ask(line);
    this.#follower?.hears(state);
    return state;
  }
}
