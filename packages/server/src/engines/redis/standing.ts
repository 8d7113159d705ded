import type { LogReport } from '../../log/report.ts';
import { allLost, newestLost } from '../rewind-reports.ts';
import type { RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import type { KnownLog } from './known-log.ts';
import { readMarks } from './marks.ts';
import type { NodeCopy } from './node-copy.ts';
import type { Reads } from './reads.ts';
import { readStatus, type Status, status as statusScript } from './scripts/status.ts';

export interface StandingParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly known: KnownLog;
  /** Arguments that every script begins with. */
  readonly knownArguments: () => readonly (string | number)[];
  readonly copy: NodeCopy;
  readonly reads: Reads;
  readonly onReport: (report: LogReport) => void;
  readonly onEpoch: () => void;
  /** Newest records that this node had are not the log any more. */
  readonly onRewind: () => void;
}

/** Where the server says that the log stands, and what follows from it for what this node has read. */
export class Standing {
  readonly #parts: StandingParts;

  constructor(parts: StandingParts) {
    this.#parts = parts;
  }

  async ask(connection: RedisConnection = this.#parts.connection): Promise<Status> {
    const { keys, knownArguments } = this.#parts;
    return readStatus(await statusScript.run(connection.redis, keys.all, knownArguments()));
  }

  /** Takes the log as it stands, and the newest of its records, `bytes` of them. */
  async begin(bytes: number): Promise<void> {
    const { connection, keys, known, copy, reads } = this.#parts;
    const told = await this.ask();
    copy.begin(told, await readMarks(connection.redis, keys));
    copy.preload(await reads.before(known.offset, bytes));
  }

  async compare(told: Status): Promise<void> {
    const { known, copy, onReport, onEpoch } = this.#parts;
    const { head } = known;
    const before = known.epochs.current;
    const isEmptied = before !== undefined && !told.epochs.some(({ epoch }) => epoch === before.epoch);
    const kept = known.rewindBy(told);
    if (isEmptied && kept === undefined) onReport(allLost('Redis', head));
    if (kept === undefined) known.take(told);
    else await this.#rewind(kept, told);
    if (before?.epoch !== known.epochs.current?.epoch) onEpoch();
    copy.raiseFloor(told.floor);
  }

  /** What lies beyond `offset` is lost: the server has gone on without it. */
  async #rewind(offset: number, told: Status): Promise<void> {
    const { connection, keys, known, copy, reads, onReport, onRewind } = this.#parts;
    const { head } = known;
    const time = await reads.timeBefore(offset);
    copy.goBack(offset, time, told, await readMarks(connection.redis, keys));
    onReport(newestLost('Redis', head, offset));
    onRewind();
  }
}
