import type { EpochStart } from '../../../log/epoch-list.ts';
import { Script } from './script.ts';
import { settle } from './settle.ts';

/**
 * Where the log stands. Answers: id, head, time, floor, bytes, ids, producers, ids and producers that were forgotten for
 * want of room, then the epochs, each as `<epoch> <first offset>`.
 */
export const status: Script = new Script(`${settle}
local state = settle()
local short = redis.call('HMGET', STATE, 'idsCutShort', 'producersCutShort')
local answer = { state.id, state.head, state.time, state.floor, state.bytes,
  redis.call('HLEN', IDS), redis.call('ZCARD', PRODUCERS), tonumber(short[1] or 0), tonumber(short[2] or 0) }
for _, epoch in ipairs(redis.call('LRANGE', EPOCHS, 0, -1)) do answer[#answer + 1] = epoch end
return answer
`);

/** What `status` answers. */
export interface Status {
  readonly id: string;
  readonly head: number;
  readonly time: number;
  readonly floor: number;
  readonly bytes: number;
  readonly ids: number;
  readonly producers: number;
  readonly idsCutShort: number;
  readonly producersCutShort: number;
  readonly epochs: readonly EpochStart[];
}

export function readStatus(answer: unknown): Status {
  const [id, head, time, floor, bytes, ids, producers, idsCutShort, producersCutShort, ...epochs] = answer as [
    Buffer,
    ...(number | Buffer)[],
  ];
  return {
    id: id.toString(),
    head: Number(head),
    time: Number(time),
    floor: Number(floor),
    bytes: Number(bytes),
    ids: Number(ids),
    producers: Number(producers),
    idsCutShort: Number(idsCutShort),
    producersCutShort: Number(producersCutShort),
    epochs: epochs.map(text => {
      const [epoch, first] = text.toString().split(' ');
      return { epoch: Number(epoch), first: Number(first) };
    }),
  };
}
