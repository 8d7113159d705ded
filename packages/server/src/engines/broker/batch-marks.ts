import type { Message } from '@tailrace/protocol';

/**
 * What the messages of one request bear on. One that depends on another of the same request waits for the next, when it is
 * known what became of that.
 */
export class BatchMarks {
  readonly #marks = new Set<string>();

  depends({ topic, id, producer, by, sequence, key, expect }: Message): boolean {
    const marks = this.#marks;
    if (marks.size === 0) return false;
    return (
      marks.has(`end\n${topic}`) ||
      (id !== undefined && marks.has(`id\n${id}\n${topic}`)) ||
      (producer !== undefined && marks.has(`sequence\n${sequence}\n${producer}\n${by ?? ''}`)) ||
      (expect !== undefined && marks.has(`key\n${key}\n${topic}`))
    );
  }

  add({ topic, id, producer, by, sequence, key, end }: Message): void {
    if (end) this.#marks.add(`end\n${topic}`);
    if (id !== undefined) this.#marks.add(`id\n${id}\n${topic}`);
    if (producer !== undefined) this.#marks.add(`sequence\n${sequence}\n${producer}\n${by ?? ''}`);
    if (key !== undefined) this.#marks.add(`key\n${key}\n${topic}`);
  }
}
