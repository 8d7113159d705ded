import { page } from './page.ts';
import { readRecord } from './record.ts';
import { Script } from './script.ts';
import { settle } from './settle.ts';

/** Entries that one call removes at most: Redis serves nobody else meanwhile. */
const stepEntries = 500;

/**
 * Removes the oldest records. ARGV 7: up to this offset; 8: older than this time (ms); 9: while there are more bytes than
 * that; '' for what does not matter. Answers: 1 when there may be more to remove, and the floor.
 */
export const trim: Script = new Script(`${settle}${page}${readRecord}
local state = settle()
local upTo, older, most = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local entries, isLast = page('XRANGE', '-', '+', ${stepEntries})
local last
for _, entry in ipairs(entries) do
  local offset = tonumber(string.match(entry[1], '^(%d+)'))
  local fields = entry[2]
  if fields[1] == 'm' then
    local goes = (upTo and offset <= upTo) or (older and tonumber(fields[2]) < older) or (most and state.bytes > most)
    if not goes then break end
    local record = fields[4]
    local topic, ends, _, key = partsOf(record)
    state.bytes = state.bytes - #record
    state.floor = offset
    local newest = redis.call('HGET', TOPICS, topic)
    if newest and tonumber(string.match(newest, '^(%d+)')) <= offset then redis.call('HDEL', TOPICS, topic) end
    if ends and tonumber(redis.call('HGET', ENDED, topic) or 0) <= offset then redis.call('HDEL', ENDED, topic) end
    if key and tonumber(redis.call('HGET', NEWEST, topic .. '\\n' .. key) or 0) <= offset then
      redis.call('HDEL', NEWEST, topic .. '\\n' .. key)
    end
  end
  last = entry[1]
end
local more = 0
if last then
  local milliseconds, number = string.match(last, '^(%d+)-(%d+)$')
  redis.call('XTRIM', LOG, 'MINID', milliseconds .. '-' .. (number + 1))
  if last == entries[#entries][1] and not isLast then more = 1 end
end
if upTo and more == 0 then state.floor = math.max(state.floor, math.min(upTo, state.head)) end
redis.call('HSET', STATE, 'floor', whole(state.floor), 'bytes', whole(state.bytes))
if more == 0 then
  local deleted = redis.call('HGETALL', DELETED)
  for i = 1, #deleted, 2 do
    if tonumber(string.match(deleted[i + 1], '^(%d+)')) <= state.floor then redis.call('HDEL', DELETED, deleted[i]) end
  end
end
return { more, state.floor }
`);
