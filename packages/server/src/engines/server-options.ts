import type { Clock } from '../log/clock.ts';
import type { CommonLogOptions } from '../log/options.ts';
import type { Random } from '../log/random.ts';
import type { StoredDurability } from '../log/record.ts';

/** Of a log that lives in a server. */
export interface ServerLogOptions extends CommonLogOptions {
  readonly url: string;
  /** What the names of all that it takes there begin with; one log for each. */
  readonly name?: string | undefined;
  /** Class that the server must be able to keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  /** How long the start waits for the server, ms. */
  readonly startTimeout?: number | undefined;
  /** Of records and their ages. What waits for the server waits in real time. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** Of one that may be spread over several partitions. */
export interface Partitioned {
  /** They stay as many for the life of the log: they decide where a topic of the log is. */
  readonly partitions: number;
}
