import { type PublishResult, TailraceError, toTailraceError } from '@tailrace/protocol';
import { type Published, passedOn, type Tokens } from '../hub/index.ts';
import type { PublishCounts } from '../observe/publish-counts.ts';

/** Turns what the publisher says into what the client is told (§4), and counts it. */
export class PublishResults {
  readonly #tokens: Tokens;
  readonly #counts: PublishCounts;

  constructor(tokens: Tokens, counts: PublishCounts) {
    this.#tokens = tokens;
    this.#counts = counts;
  }

  /** The JSON of one result; undefined for class `none`. Throws the error of a refused message. Hot. */
  text(result: Published): string | undefined {
    if (result === passedOn) {
      this.#counts.live++;
      return undefined;
    }
    if ('error' in result) {
      this.#counts.fail(result.error.code);
      throw result.error;
    }
    if (result.duplicate) this.#counts.duplicates++;
    else this.#counts.appended++;
    return `{"offset":${result.offset},"cursor":"${this.#tokens.of(result.offset, result.time)}","duplicate":${result.duplicate}}`;
  }

  /** Any error of a publish as one for the client; counts it, and reports a fault of ours. */
  refused(cause: unknown, onFault: (error: unknown) => void): TailraceError {
    const error = toTailraceError(cause);
    if (error.code === 'internal') onFault(error.cause ?? error);
    this.#counts.fail(error.code);
    return error;
  }

  /** The results of `total` messages, of which those after the first failure were not attempted. */
  all(
    results: readonly Published[],
    total: number,
  ): { results: PublishResult[]; accepted: number; failed: TailraceError | undefined } {
    const told: PublishResult[] = [];
    let accepted = 0;
    let failed: TailraceError | undefined;
    for (const result of results) {
      if (result === passedOn) {
        this.#counts.live++;
        told.push({ duplicate: false });
      } else if ('error' in result) {
        this.#counts.fail(result.error.code);
        failed = result.error.placed({ index: told.length });
        told.push({ error: failed.toProblem() });
        break;
      } else {
        if (result.duplicate) this.#counts.duplicates++;
        else this.#counts.appended++;
        const cursor = this.#tokens.of(result.offset, result.time);
        told.push({ offset: result.offset, cursor, duplicate: result.duplicate });
      }
      accepted++;
    }
    if (failed !== undefined && told.length < total) {
      const error = new TailraceError(
        'not_attempted',
        'an earlier message of the same request failed, and messages are appended in order',
      ).toProblem();
      while (told.length < total) told.push({ error });
    }
    return { results: told, accepted, failed };
  }
}
