/** The keys of one log, which share a hash tag, so that a cluster keeps them together. */
export class Keys {
  /** In the order in which scripts take them. */
  readonly all: readonly string[];
  readonly log: string;
  readonly state: string;
  readonly topics: string;
  readonly ended: string;
  readonly deleted: string;
  readonly #prefix: string;

  constructor(name: string) {
    this.#prefix = `{${name}}`;
    this.log = this.#key('log');
    this.state = this.#key('state');
    this.topics = this.#key('topics');
    this.ended = this.#key('ended');
    this.deleted = this.#key('deleted');
    this.all = [
      this.log,
      this.state,
      this.#key('epochs'),
      this.#key('ids'),
      this.#key('ids-by-age'),
      this.#key('producers'),
      this.ended,
      this.topics,
      this.#key('newest-of-key'),
      this.deleted,
      // never there: while the keys are on their way to another node of a cluster, Redis runs no script that names one which
      // is not there, and so none that would meet half of the log
      this.#key('never'),
    ];
  }

  /** Number of streams, of a log that has several; it is under the name of the whole. */
  get partitions(): string {
    return this.#key('partitions');
  }

  /** Channel of what is in no log. */
  get live(): string {
    return this.#key('live');
  }

  /** The newest batch of a node. */
  batchOf(node: string): string {
    return this.#key(`batch:${node}`);
  }

  /** Nodes that are there. */
  get nodes(): string {
    return this.#key('nodes');
  }

  /** Names of groups. */
  get groups(): string {
    return this.#key('groups');
  }

  /** Those of one group, in the order in which scripts take them. */
  ofGroup(group: string): readonly string[] {
    return [this.#key(`group:${group}`), this.#key(`group-due:${group}`), this.#key(`group-held:${group}`)];
  }

  /** The newest call of a node for a group. */
  groupCallOf(node: string, group: string): string {
    return this.#key(`group-call:${node}:${group}`);
  }

  #key(name: string): string {
    return `${this.#prefix}:${name}`;
  }
}
