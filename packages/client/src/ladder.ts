import type { Environment } from './environment.ts';
import type { Transport } from './transports/transport.ts';

/** Failures in a row after which the next transport is tried. */
const failuresMost = 5;
/** An attempt that nothing answered counts for so many: what swallows bytes is slower to tell than what refuses them. */
const silentCounts = 3;
const betterBase = 30_000;
const betterCap = 600_000;

/** Transports from the best to the one that always works, and which it is now. */
export class Ladder {
  readonly #transports: readonly Transport[];
  #at: number;
  #failures = 0;
  /** Times that a better one was looked for. */
  #looks = 0;

  constructor(transports: readonly Transport[], environment: Environment, worked: string | undefined) {
    this.#transports = transports.filter(transport => transport.isOffered(environment));
    this.#at = Math.max(
      0,
      this.#transports.findIndex(({ name }) => name === worked),
    );
  }

  get current(): Transport {
    return this.#transports[this.#at]!;
  }

  get better(): readonly Transport[] {
    return this.#transports.slice(0, this.#at);
  }

  /** ms until a better one is looked for (again); undefined when there is none. */
  get lookIn(): number | undefined {
    return this.#at === 0 ? undefined : Math.min(betterCap, betterBase * 2 ** this.#looks++);
  }

  failed(isSilent: boolean): void {
    this.#failures += isSilent ? silentCounts : 1;
    if (this.#failures < failuresMost) return;
    this.#failures = 0;
    this.#at = (this.#at + 1) % this.#transports.length;
  }

  worked(transport: Transport): void {
    this.#failures = 0;
    if (transport !== this.current) this.#looks = 0;
    this.#at = this.#transports.indexOf(transport);
  }
}
