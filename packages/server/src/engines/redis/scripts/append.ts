import { Script } from './script.ts';
import { settle } from './settle.ts';

/** Arguments of one message, behind those of the call. */
export const argumentsOfMessage = 8;

/** What became of a message; each is told by three numbers. */
export const outcome = {
  /** offset, time. */
  appended: 0,
  /** offset and time of the record that it repeats. */
  duplicate: 1,
  /** offset of the record that ended the topic. */
  ended: 2,
  /** offset of the newest record of the key, 0 for none. */
  unexpected: 3,
  /** The sequence is too far below the producer's highest. */
  tooOld: 4,
  /** One before it in the same append failed. */
  skipped: 5,
} as const;

/**
 * Appends one batch: decides for each message whether it is new, repeated or refused, and gives the new ones their offsets.
 * A batch that was appended already (the answer was lost) gets the same answer again.
 *
 * KEYS[12]: the caller's last batch. ARGV 7–10: number of this batch, ids kept, for how long (ms), at most; 11: producers.
 * Then for each message: record, topic, id key, producer key, sequence, key, expected offset ('' for any), flags: `s` begins
 * an append, `e` ends its topic, `d` deletes its key. Answers: epoch, then three numbers a message.
 */
export const append: Script = new Script(`${settle}
local BATCH = KEYS[12]
local state = settle()
local last = redis.call('HMGET', BATCH, 'number', 'answer')
-- one of before, which a connection that was given up delivered late
if tonumber(last[1] or 0) > tonumber(ARGV[7]) then return redis.error_reply('ERR the batch was answered long ago') end
if last[1] == ARGV[7] then
  -- a write, so that WAIT of this connection waits for the replicas
  redis.call('PEXPIRE', BATCH, 3600000)
  return cjson.decode(last[2])
end

local keep, age, most = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local producersMost = tonumber(ARGV[11])
local window = 1024
local time = math.max(state.time, state.now)
local answer = { state.epoch }
-- the first record of an epoch says so, that whoever reads on learns it in its place
local first = tonumber(string.match(redis.call('LINDEX', EPOCHS, -1), ' (%d+)$'))
local failed = false
local anyDeleted = redis.call('EXISTS', DELETED) == 1

local function tell(kind, a, b)
  answer[#answer + 1] = kind
  answer[#answer + 1] = a
  answer[#answer + 1] = b
end

local function placeOf(text)
  local offset, at = string.match(text, '^(%d+) (%d+)$')
  return tonumber(offset), tonumber(at)
end

for i = 12, #ARGV, ${argumentsOfMessage} do
  local record, topic, id, producer, sequence, key, expect, flags =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  if string.find(flags, 's', 1, true) then failed = false end
  local repeated, highest, ended, field
  local gone = 0
  if anyDeleted then gone = tonumber(string.match(redis.call('HGET', DELETED, topic) or '0', '^(%d+)')) end
  if not failed and id ~= '' then
    repeated = redis.call('HGET', IDS, id)
    if repeated and placeOf(repeated) <= gone then repeated = false end
  end
  if not failed and not repeated and producer ~= '' then
    field = PRODUCERS .. ':' .. producer
    highest = tonumber(redis.call('HGET', field, 'highest') or -1)
    repeated = redis.call('HGET', field, sequence)
  end
  if not failed then
    ended = redis.call('HGET', ENDED, topic)
  end
  local newest = 0
  if not failed and expect ~= '' then
    newest = tonumber(redis.call('HGET', NEWEST, topic .. '\\n' .. key) or 0)
    if newest <= math.max(state.floor, gone) then newest = 0 end
  end
  if failed then
    tell(${outcome.skipped}, 0, 0)
  elseif repeated then
    local offset, at = placeOf(repeated)
    tell(${outcome.duplicate}, offset, at)
  elseif highest and tonumber(sequence) < highest - window then
    failed = true
    tell(${outcome.tooOld}, 0, 0)
  elseif ended then
    failed = true
    tell(${outcome.ended}, tonumber(ended), 0)
  elseif expect ~= '' and newest ~= tonumber(expect) then
    failed = true
    tell(${outcome.unexpected}, newest, 0)
  else
    local offset = state.head + 1
    local place = whole(offset) .. ' ' .. whole(time)
    if offset == first then
      redis.call('XADD', LOG, whole(offset) .. '-0', 'm', whole(time), 'r', record, 'e', whole(state.epoch))
    else
      redis.call('XADD', LOG, whole(offset) .. '-0', 'm', whole(time), 'r', record)
    end
    state.head = offset
    state.time = time
    state.bytes = state.bytes + #record
    redis.call('HSET', TOPICS, topic, place)
    if id ~= '' then
      redis.call('HSET', IDS, id, place)
      redis.call('RPUSH', IDORDER, id .. '\\n' .. place)
    end
    if producer ~= '' then
      redis.call('HSET', field, sequence, place)
      local number = tonumber(sequence)
      if number > highest then
        redis.call('HSET', field, 'highest', sequence)
        if highest >= 0 then
          local from, to = math.max(0, highest - window), number - window - 1
          if to - from > window then
            redis.call('DEL', field)
            redis.call('HSET', field, 'highest', sequence, sequence, place)
          else
            for gone = from, math.min(to, highest) do redis.call('HDEL', field, whole(gone)) end
          end
        end
      end
      redis.call('ZADD', PRODUCERS, offset, producer)
      while redis.call('ZCARD', PRODUCERS) > producersMost do
        local oldest = redis.call('ZPOPMIN', PRODUCERS)
        redis.call('DEL', PRODUCERS .. ':' .. oldest[1])
        redis.call('HINCRBY', STATE, 'producersCutShort', 1)
      end
    end
    if key ~= '' then
      if string.find(flags, 'd', 1, true) then redis.call('HDEL', NEWEST, topic .. '\\n' .. key)
      else redis.call('HSET', NEWEST, topic .. '\\n' .. key, whole(offset)) end
    end
    if string.find(flags, 'e', 1, true) then redis.call('HSET', ENDED, topic, whole(offset)) end
    tell(${outcome.appended}, offset, time)
  end
end

-- ids beyond the window go, oldest first, a few more than come
local count = redis.call('LLEN', IDORDER)
local turns = 2 * #ARGV
while count > keep and turns > 0 do
  local oldest = redis.call('LINDEX', IDORDER, 0)
  local id, place = string.match(oldest, '^(.*)\\n(%d+ %d+)$')
  local _, at = placeOf(place)
  if count <= most and state.time - at < age then break end
  if state.time - at < age then redis.call('HINCRBY', STATE, 'idsCutShort', 1) end
  redis.call('LPOP', IDORDER)
  if redis.call('HGET', IDS, id) == place then redis.call('HDEL', IDS, id) end
  count = count - 1
  turns = turns - 1
end

redis.call('HSET', STATE, 'head', whole(state.head), 'time', whole(state.time), 'bytes', whole(state.bytes))
redis.call('HSET', BATCH, 'number', ARGV[7], 'answer', cjson.encode(answer))
redis.call('PEXPIRE', BATCH, 3600000)
return answer
`);
