import { type PublishResult, TailraceError, toTailraceError } from '@tailrace/protocol';
import { type Published, passedOn, spooled } from '../hub/index.ts';
import type { Tokens } from '../log/index.ts';
import type { PublishCounts } from '../observe/publish-counts.ts';

/** Turns what the publisher says into what the client is told (§4), and counts it. */
export class PublishResults {
  readonly #tokens: Tokens;
  readonly #counts: PublishCounts;

  constructor(tokens: Tokens, counts: PublishCounts) {
    this.#tokens = tokens;
    this.#counts = counts;
  }

  /** HTTP status of one result: 202 for what is not in the log, or not yet. */
  status(result: Published): 200 | 202 {
    return result === passedOn || result === spooled ? 202 : 200;
  }

  /** The JSON of one result. Throws the error of a refused message. Hot. */
  text(result: Published): string {
    if (result === passedOn) {
      this.#counts.live++;
      return '{}';
    }
    if (result === spooled) {
      this.#counts.spooled++;
      return '{"spooled":true}';
    }
    if ('error' in result) {
      this.#counts.fail(result.error.code);
      throw result.error;
    }
    if (result.duplicate) this.#counts.duplicates++;
    else this.#counts.appended++;
    return `{"offset":${result.offset},"cursor":"${this.#tokens.ofAppended(result)}","duplicate":${result.duplicate}}`;
  }

  /** Any error of a publish as one for the client; counts it, and reports a fault of ours. */
  refused(cause: unknown, onFault: (error: unknown) => void): TailraceError {
    const error = toTailraceError(cause);
    if (error.code === 'internal') onFault(error.cause ?? error);
    this.#counts.fail(error.code);
    return error;
  }

  /**
   * The results of `total` messages, in their order. Those behind a failure that nobody tried are told so; where the
   * outcome of an append is unknown each of its messages says that, since each may be in the log.
   */
  all(results: readonly Published[], total: number): AllResults {
    const told: PublishResult[] = [];
    let accepted = 0;
    let failed: TailraceError | undefined;
    for (const result of results) {
      if (result === passedOn) {
        this.#counts.live++;
        told.push({ duplicate: false });
        accepted++;
      } else if (result === spooled) {
        this.#counts.spooled++;
        told.push({ duplicate: false, spooled: true });
        accepted++;
      } else if ('error' in result) {
        this.#counts.fail(result.error.code);
        const error = result.error.placed({ index: told.length });
        failed ??= error;
        told.push({ error: error.toProblem() });
      } else {
        if (result.duplicate) this.#counts.duplicates++;
        else this.#counts.appended++;
        const cursor = this.#tokens.ofAppended(result);
        told.push({ offset: result.offset, cursor, duplicate: result.duplicate });
        accepted++;
      }
    }
    while (told.length < total) {
      const at = { index: told.length };
      told.push({
        error: new TailraceError(
          'not_attempted',
          'an earlier message of the same request failed, and messages are appended in order',
          { at },
        ).toProblem(),
      });
    }
    return { results: told, accepted, failed };
  }
}

export interface AllResults {
  readonly results: PublishResult[];
  readonly accepted: number;
  /** The first failure. */
  readonly failed: TailraceError | undefined;
}
