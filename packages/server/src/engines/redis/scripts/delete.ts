import { page } from './page.ts';
import { readRecord } from './record.ts';
import { Script } from './script.ts';
import { settle } from './settle.ts';

/**
 * Marks the records of a topic as deleted, up to its newest, and tells every node by an entry of the stream that is no
 * record. ARGV 7: topic; 8: `1` for a table. Answers offset and time of the newest; nothing when the topic has none.
 */
export const markDeleted: Script = new Script(`${settle}
local state = settle()
local topic, ofTable = ARGV[7], ARGV[8]
local newest = redis.call('HGET', TOPICS, topic)
if not newest then return {} end
local offset, time = string.match(newest, '^(%d+) (%d+)$')
redis.call('HDEL', TOPICS, topic)
redis.call('HDEL', ENDED, topic)
note(state, 'x', topic, 'u', offset, 't', ofTable)
redis.call('HSET', DELETED, topic, offset .. ' ' .. ofTable .. ' 1')
return { offset, time }
`);

/** Entries that one call looks at. */
const stepEntries = 500;

/**
 * Takes the next records of a deleted topic out. ARGV 1: topic; 2: up to this offset; 3: where it goes on. Answers where the
 * next call does, or nothing at the end.
 */
export const eraseDeleted: Script = new Script(`${page}${readRecord}
local LOG, STATE, EPOCHS, IDS, IDORDER, PRODUCERS, ENDED, TOPICS, NEWEST, DELETED = unpack(KEYS)
local topic, upTo = ARGV[1], tonumber(ARGV[2])
local entries, isLast = page('XRANGE', ARGV[3], ARGV[2] .. '-0', ${stepEntries})
local bytes = 0
for _, entry in ipairs(entries) do
  if entry[2][1] == 'm' then
    local record = entry[2][4]
    if topicOf(record) == topic then
      local _, _, id, key = partsOf(record)
      if id then
        local place = redis.call('HGET', IDS, id .. '\\n' .. topic)
        if place and string.match(place, '^(%d+)') == string.match(entry[1], '^(%d+)') then
          redis.call('HDEL', IDS, id .. '\\n' .. topic)
        end
      end
      if key and tonumber(redis.call('HGET', NEWEST, topic .. '\\n' .. key) or 0) <= upTo then
        redis.call('HDEL', NEWEST, topic .. '\\n' .. key)
      end
      bytes = bytes + #record
      redis.call('XDEL', LOG, entry[1])
    end
  end
end
if bytes > 0 then redis.call('HINCRBY', STATE, 'bytes', -bytes) end
if not isLast then return '(' .. entries[#entries][1] end
local mark = redis.call('HGET', DELETED, topic)
if mark and tonumber(string.match(mark, '^(%d+)')) == upTo then
  redis.call('HSET', DELETED, topic, string.match(mark, '^(%d+ %d)') .. ' 0')
end
return false
`);
