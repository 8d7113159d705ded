import type { Message } from '@tailrace/protocol';
import type { Log } from '../../src/log/log.ts';
import { offsetOf } from '../log/messages.ts';

/** Appends one by one, each again and again until it is acked, as a publisher with ids does. */
export async function publishAll(log: Log, messages: readonly Message[], onAck: () => void = () => {}): Promise<void> {
  for (const one of messages) {
    for (;;) {
      try {
        offsetOf((await log.append([one], 'fsync'))[0]);
        break;
      } catch {
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    }
    onAck();
  }
}
