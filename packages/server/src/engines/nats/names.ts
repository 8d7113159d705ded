export const nameDefault = 'tailrace';

/** What the partition `index` of the log `name` is called in NATS. */
export class Names {
  readonly stream: string;
  /** Of all that is in the stream: `subjectOf` each writer. */
  readonly subjects: string;
  readonly epochsStream: string;
  readonly epochsSubjects: string;
  /** Where the newest message tells the epochs of this partition. */
  readonly epochs: string;
  /** Of messages that no stream keeps, those of all partitions. */
  readonly live: string;
  readonly #prefix: string;

  constructor(name: string, index: number) {
    this.live = `${name}.live`;
    this.#prefix = `${name}.${index}`;
    this.stream = `${name}-${index}`;
    this.subjects = `${this.#prefix}.*`;
    this.epochsStream = `${name}-epochs`;
    this.epochsSubjects = `${name}.epochs.*`;
    this.epochs = `${name}.epochs.${index}`;
  }

  subjectOf(writer: string): string {
    return `${this.#prefix}.${writer}`;
  }
}
