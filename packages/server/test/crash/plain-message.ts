import type { Message } from '@tailrace/protocol';

export function plainMessage(topic: string, data: string, id: string): Message {
  return {
    topic,
    data: Buffer.from(data),
    contentType: 'text/plain',
    event: undefined,
    id,
    producer: undefined,
    sequence: undefined,
    key: undefined,
    expect: undefined,
    headers: undefined,
    by: undefined,
    end: false,
    durability: undefined,
  };
}
