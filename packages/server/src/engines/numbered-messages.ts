import type { Message } from '@tailrace/protocol';
import type { RecordSource } from '../log/record.ts';
import { isPacked, packRecord, unpackRecord } from './packed-record.ts';

/** Id of a node: so many characters in front of its messages, then their number. */
export const nodeBytes = 16;
const headBytes = nodeBytes + 8;
/** Nodes that are remembered, those heard of last; every start of a server is one. */
const nodesMost = 1000;

/**
 * Messages of class `none` over a channel that keeps nothing and promises nothing. Each node numbers what it sends, so that
 * the others know what they missed.
 */
export class NumberedMessages {
  /** Of other nodes, that did not come. */
  lost = 0;
  readonly #node: string;
  readonly #listeners = new Set<(message: RecordSource) => void>();
  /** Number of the newest message of each other node. */
  readonly #seen = new Map<string, number>();
  #number = 0;

  /** `node`: id of this one, of `nodeBytes` characters. */
  constructor(node: string) {
    this.#node = node;
  }

  /** What is sent for the next message. A number is used up: whoever misses the message learns it from the next. */
  pack(message: Message): Buffer {
    const head = Buffer.alloc(headBytes);
    head.write(this.#node, 0, 'latin1');
    head.writeDoubleLE(++this.#number, nodeBytes);
    return Buffer.concat([head, packRecord(message)]);
  }

  /** Hands on what came, unless it is this node's own, or nobody's. */
  take(bytes: Buffer): void {
    const packed = bytes.subarray(headBytes);
    if (bytes.length < headBytes || !isPacked(packed)) return;
    const node = bytes.toString('latin1', 0, nodeBytes);
    if (node === this.#node) return;
    const number = bytes.readDoubleLE(nodeBytes);
    const seen = this.#seen.get(node);
    // whatever a node sent before this one knew of it is not missed
    if (seen !== undefined && number > seen + 1) this.lost += number - seen - 1;
    this.#seen.delete(node);
    this.#seen.set(node, number);
    if (this.#seen.size > nodesMost) this.#seen.delete(this.#seen.keys().next().value!);
    const record = unpackRecord({ offset: 0, time: 0, bytes: packed });
    for (const listener of this.#listeners) listener(record);
  }

  listen(listener: (message: RecordSource) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
