import type { Redis } from 'ioredis';
import type { Answer } from './answer.ts';

/**
 * Sends a command over the connection of the client library, of which nothing may be under way, and reads the answer past it.
 * Rejects when the connection goes.
 */
export function askPast(redis: Redis, command: Buffer, answer: Answer): Promise<void> {
  const { stream } = redis;
  const readers = stream.listeners('data') as ((chunk: Buffer) => void)[];
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      stream.off('data', take);
      stream.off('close', lost);
      for (const reader of readers) stream.on('data', reader);
      if (error === undefined) resolve();
      else reject(error);
    };
    const take = (chunk: Buffer): void => {
      try {
        if (answer.take(chunk)) settle();
      } catch (error) {
        settle(error as Error);
      }
    };
    const lost = (): void => settle(new Error('the connection was lost'));
    answer.clear();
    for (const reader of readers) stream.off('data', reader);
    stream.on('data', take);
    stream.on('close', lost);
    stream.write(command);
  });
}

/** A command as Redis reads it. */
export function encodeCommand(parts: readonly (string | number)[]): Buffer {
  let text = `*${parts.length}\r\n`;
  for (const part of parts) {
    const argument = String(part);
    text += `$${Buffer.byteLength(argument)}\r\n${argument}\r\n`;
  }
  return Buffer.from(text);
}
