import type { Intake } from '../../intake.ts';
import type { Log } from '../../log.ts';
import { logDefaults } from '../../options.ts';
import type { LogAppends } from '../commit/log-appends.ts';
import { type Compacted, Compactor } from '../compaction/compactor.ts';
import { rememberedFrom } from '../dedupe/remember.ts';
import { TopicDeletions } from '../deletion/topic-deletions.ts';
import type { OpenedLog } from '../opened-log.ts';
import type { ReadsInFlight } from '../read/reads-in-flight.ts';
import { Retention } from './retention.ts';
import { Scrub } from './scrub.ts';
import { Turns } from './turns.ts';

export interface UpkeepParts {
  readonly log: Pick<Log, 'hot' | 'head' | 'tables' | 'deletions' | 'newest' | 'positionOf' | 'epochOf' | 'endOf'>;
  readonly intake: Intake;
  readonly appends: LogAppends;
  readonly inFlight: ReadsInFlight;
}

/** What is done to complete segments in the background: they are re-read, rewritten by the rules of topics or without deleted ones, removed. */
export class Upkeep {
  readonly retention: Retention;
  readonly scrub: Scrub;
  readonly deletions: TopicDeletions;
  readonly #compactor: Compactor;
  readonly #opened: OpenedLog;

  constructor(opened: OpenedLog, { log, intake, appends, inFlight }: UpkeepParts) {
    const { options, disk, clock, report, identity, epochs, recovered, segments, reader, reading, housework } = opened;
    this.#opened = opened;
    const { sealer, checkpoints } = appends;
    const turns = new Turns();
    this.retention = new Retention({
      disk,
      clock,
      cache: reading.cache,
      options: options.retention ?? {},
      segments,
      sealer,
      turns,
      roll: () => appends.roll(),
      report,
      floor: (recovered.segments[0]?.firstOffset ?? recovered.head + 1) - 1,
      onFloor: floor => intake.ended.trim(floor),
    });
    this.scrub = new Scrub({
      clock,
      gate: reader.gate,
      segments,
      options: options.scrub ?? { intervalMs: 0, bytesPerSecond: 0 },
      busy: () => appends.pending.pendingRecords > 0,
      report,
    });
    this.#compactor = new Compactor({
      disk,
      clock,
      directory: options.directory,
      run: epochs.current!.epoch,
      housework,
      reading,
      secret: identity.secret,
      options: options.keep,
      tableBytes: options.keyIndexBytes ?? logDefaults.keyIndexBytes,
      segments,
      sealer,
      turns,
      inFlight,
      hotBase: () => log.hot.base,
      makeDurable: () => appends.makeDurable(),
      rememberedFrom: () => rememberedFrom(segments.all, options.dedupe),
      report,
    });
    this.deletions = new TopicDeletions({
      disk,
      clock,
      directory: options.directory,
      ownership: opened.ownership,
      segments,
      sealer,
      compactor: this.#compactor,
      checkpoints,
      log,
      makeDurable: () => appends.makeDurable(),
      forget: ({ topic, upTo }) => {
        log.hot.remove(topic, upTo);
        intake.forget(topic, upTo);
        checkpoints.expire();
      },
      roll: () => void appends.roll(),
      report,
    });
  }

  start(): void {
    this.retention.start();
    this.scrub.start();
    this.#compactor.start();
    this.deletions.start(this.#opened.deletions);
  }

  async stop(): Promise<void> {
    const deleted = this.deletions.stop();
    await this.#compactor.stop();
    await deleted;
    await this.retention.stop();
    await this.scrub.stop();
  }

  /** Rewrites every sealed segment of whose bytes at least `share` may go by the rules of topics. */
  compact(share: number): Promise<Compacted> {
    return this.#compactor.compact(share);
  }
}
