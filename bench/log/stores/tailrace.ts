import { openDiskLog } from '../../../packages/server/src/log/index.ts';
import { message } from '../message.ts';
import type { Store } from './store.ts';

export async function openTailrace(directory: string): Promise<Store> {
  const log = await openDiskLog({ directory });
  return {
    append: (topic, data) => log.append([message(topic, data)], 'fsync'),
    count: () => log.head.offset,
    close: () => log.close(),
  };
}
