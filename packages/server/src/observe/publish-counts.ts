/** What became of messages that were handed in for publishing: plain numbers, read when metrics are asked for. */
export class PublishCounts {
  appended = 0;
  duplicates = 0;
  /** Class `none`: passed on, not in the log. */
  live = 0;
  /** On this node's disk until the engine takes them. */
  spooled = 0;
  /** Failures by error code. */
  readonly failed: Map<string, number> = new Map();

  fail(code: string): void {
    this.failed.set(code, (this.failed.get(code) ?? 0) + 1);
  }
}
