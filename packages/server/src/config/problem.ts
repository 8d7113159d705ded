/** Something wrong with the settings, in words for people. */
export interface ConfigProblem {
  /** A warning does not keep the server from starting. */
  readonly severity: 'error' | 'warning';
  /** Path of the setting, such as `rules[0].lag.after`; empty when it concerns a file as a whole. */
  readonly path: string;
  /** Where the value came from: `--port`, `TAILRACE_PORT`, a file name, or `default`. */
  readonly source: string;
  /** Complete sentence without the source: what was wrong and what is allowed. */
  readonly message: string;
}

/** `error: TAILRACE_PORT: port is "x", not …` */
export function describeProblem(problem: ConfigProblem): string {
  return `${problem.severity}: ${problem.source}: ${problem.message}`;
}

/** Settings that cannot be used; `problems` has every reason. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[]) {
    super(`the settings cannot be used:\n${problems.map(problem => `  ${describeProblem(problem)}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
