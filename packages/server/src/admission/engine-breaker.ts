import { TailraceError } from '@tailrace/protocol';
import type { Clock, EngineProbe, LogReport } from '../log/index.ts';

export type EngineState = 'healthy' | 'degraded' | 'isolated';

/** How often each probe runs, how long it may take, and how many in a row must fail, mission F3. */
const probeEvery = 5000;
const probeTimeout = 800;
const failuresMost = 3;

/** One probe and what became of it lately. */
class Watched {
  readonly probe: EngineProbe;
  failures = 0;
  slow = false;
  running = false;
  /** ms that the newest one took, or was given. */
  took = 0;
  why = '';

  constructor(probe: EngineProbe) {
    this.probe = probe;
  }
}

/**
 * Refuses publishes at once while the server behind a shared log does not answer, instead of letting each wait for its
 * deadline. Each probe runs by itself; one that fails three times in a row is enough, and the first round in which none
 * fails ends it.
 *
 *    healthy ──(slow)──► degraded ──(3 failures in a row of one probe)──► isolated ──(all probes pass)──► healthy
 */
export class EngineBreaker {
  state: EngineState = 'healthy';
  /** Publishes refused. */
  refused = 0;
  readonly #watched: readonly Watched[];
  readonly #clock: Clock;
  readonly #report: (report: LogReport) => void;
  readonly #stop: () => void;

  constructor(probes: readonly EngineProbe[], clock: Clock, report: (report: LogReport) => void) {
    this.#watched = probes.map(probe => new Watched(probe));
    this.#clock = clock;
    this.#report = report;
    this.#stop = probes.length === 0 ? () => {} : clock.every(probeEvery, () => this.#probe());
  }

  /** Why publishes are refused; undefined while they are not. */
  get reason(): string | undefined {
    return this.state === 'isolated' ? this.#why() : undefined;
  }

  /** Throws `engine_unavailable` while the engine is isolated. */
  admit(): void {
    if (this.state !== 'isolated') return;
    this.refused++;
    throw new TailraceError('engine_unavailable', this.#why(), { retryAfter: probeEvery });
  }

  /** ms that the newest run of each probe took. */
  times(): readonly (readonly [name: string, ms: number])[] {
    return this.#watched.map(({ probe, took }) => [probe.name, took]);
  }

  close(): void {
    this.#stop();
  }

  #probe(): void {
    for (const watched of this.#watched) void this.#run(watched);
  }

  async #run(watched: Watched): Promise<void> {
    if (watched.running) return;
    watched.running = true;
    const { probe } = watched;
    const since = this.#clock.monotonic();
    let stopWatch: () => void = () => {};
    const late = new Promise<never>((_, reject) => {
      stopWatch = this.#clock.after(probeTimeout, () => reject(new Error(`no answer within ${probeTimeout} ms`)));
    });
    try {
      await Promise.race([probe.run(), late]);
      watched.failures = 0;
      watched.took = this.#clock.monotonic() - since;
      watched.slow = watched.took > probe.slowMs;
      watched.why = `the ${probe.name} took ${Math.round(watched.took)} ms`;
    } catch (error) {
      watched.failures++;
      watched.took = probeTimeout;
      watched.slow = true;
      watched.why = `the ${probe.name} failed ${watched.failures} times in a row: ${(error as Error).message}`;
    } finally {
      stopWatch();
      watched.running = false;
    }
    this.#judge();
  }

  #judge(): void {
    const { state } = this;
    const isOut = this.#watched.some(({ failures }) => failures >= failuresMost);
    const passes = this.#watched.every(({ failures }) => failures === 0);
    if (isOut) this.state = 'isolated';
    else if (state !== 'isolated' || passes)
      this.state = this.#watched.some(({ slow }) => slow) ? 'degraded' : 'healthy';
    if (this.state === state) return;
    const told = {
      healthy: 'the engine is healthy again',
      degraded: `the engine is slow: ${this.#why()}`,
      isolated: `the engine does not answer, so publishes are refused until it does: ${this.#why()}`,
    };
    this.#report({
      level: this.state === 'healthy' ? 'info' : 'warn',
      kind: `engine_${this.state}`,
      message: told[this.state],
    });
  }

  #why(): string {
    return this.#watched
      .filter(({ slow }) => slow)
      .map(({ why }) => why)
      .join('; ');
  }
}
