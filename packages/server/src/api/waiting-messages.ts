import type { Message } from '@tailrace/protocol';

/** What a message costs beside its data, bytes. */
const messageWeight = 200;

/** Messages and the line that each came from, in order. */
export interface MessageBatch {
  readonly messages: Message[];
  readonly lines: number[];
}

/** The messages of one request that wait for the batch before them. */
export class WaitingMessages {
  /** What they take, about. */
  bytes = 0;
  #messages: Message[] = [];
  #lines: number[] = [];

  get length(): number {
    return this.#messages.length;
  }

  add(message: Message, line: number): void {
    this.#messages.push(message);
    this.#lines.push(line);
    this.bytes += weightOf(message);
  }

  /** Those from `from` on get memory of their own for their payloads. */
  detach(from: number): void {
    for (let i = from; i < this.#messages.length; i++) {
      const message = this.#messages[i]!;
      this.#messages[i] = { ...message, data: new Uint8Array(message.data) };
    }
  }

  /** The first of them, at most `most`. */
  take(most: number): MessageBatch {
    const all = this.#messages;
    const messages = all.length <= most ? all : all.slice(0, most);
    this.#messages = messages === all ? [] : all.slice(most);
    this.bytes = 0;
    for (const message of this.#messages) this.bytes += weightOf(message);
    return { messages, lines: this.#lines.splice(0, messages.length) };
  }

  putBack({ messages, lines }: MessageBatch): void {
    this.#messages = messages.concat(this.#messages);
    this.#lines = lines.concat(this.#lines);
    for (const message of messages) this.bytes += weightOf(message);
  }

  clear(): void {
    this.#messages = [];
    this.#lines = [];
    this.bytes = 0;
  }
}

function weightOf({ data }: Message): number {
  return data.length + messageWeight;
}
