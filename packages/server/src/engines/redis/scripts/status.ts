import { Script } from './script.ts';
import { settle } from './settle.ts';

/**
 * Where the log stands. Answers: id, head, time, floor, bytes, ids, producers, ids and producers that were forgotten for
 * want of room, ended topics, then the epochs, each as `<epoch> <first offset>`.
 */
export const status: Script = new Script(`${settle}
local state = settle()
local short = redis.call('HMGET', STATE, 'idsCutShort', 'producersCutShort')
local answer = { state.id, state.head, state.time, state.floor, state.bytes,
  redis.call('HLEN', IDS), redis.call('ZCARD', PRODUCERS), tonumber(short[1] or 0), tonumber(short[2] or 0),
  redis.call('HLEN', ENDED) }
for _, epoch in ipairs(redis.call('LRANGE', EPOCHS, 0, -1)) do answer[#answer + 1] = epoch end
return answer
`);
