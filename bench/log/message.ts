import type { Message } from '@tailrace/protocol';

/** A message as the log takes it. */
export function message(topic: string, data: Uint8Array, id?: string): Message {
  return {
    topic,
    data,
    id,
    contentType: undefined,
    event: undefined,
    producer: undefined,
    sequence: undefined,
    key: undefined,
    headers: undefined,
    by: undefined,
    end: false,
    durability: undefined,
    expect: undefined,
  };
}
