import { Script } from './script.ts';
import { settle } from './settle.ts';

/**
 * A group in Redis: a hash with what its filters are and how far it has come (`next`), a sorted set with the time at which
 * each pending offset is due, and a hash with who holds it: `<epoch> <count> <member>`, without a member when nobody does.
 *
 * Why no consumer group of Redis (XREADGROUP): that would send every record of the log, matching or not, to some node once
 * more for each group, have each of them acked, know one deadline for all and no delay longer than that, take an ack from
 * whoever sends it, and search all that is pending for what is due.
 */
const group = `
local GROUP, DUE, HELD, LAST = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
`;

/**
 * Begins a group, or finds it. ARGV 7: its filters; 8: the offset behind which a new one begins. KEYS[16]: names of groups;
 * ARGV 9: its name. Answers its filters and how far it has come.
 */
export const openGroup: Script = new Script(`${settle}${group}
local state = settle()
if redis.call('EXISTS', GROUP) == 0 then
  redis.call('DEL', DUE, HELD)
  redis.call('HSET', GROUP, 'filters', ARGV[7], 'next', whole(math.min(state.head, math.max(state.floor, tonumber(ARGV[8])))))
  redis.call('SADD', KEYS[16], ARGV[9])
end
return redis.call('HMGET', GROUP, 'filters', 'next')
`);

/** What a call of a group begins its answer with. */
export const groupState = {
  found: 0,
  missing: 1,
} as const;

/**
 * Does what the members of a node ask, in order. A call that was done already (the answer was lost) gets the same answer
 * again; one that comes late over a connection given up does nothing.
 *
 * ARGV 7: number of the call; 8, 9: epoch and offset of the newest record that the node has read; 10: how many may be
 * pending; 11, 12: offer: from, to; 13: how many offsets, which follow; then for each request `c`, member, most, ms, or `a`,
 * `e` or `r`, member, ms, number of receipts, each as offset, epoch, count.
 *
 * Answers: whether the group is there, epoch, next, ms until something is due (-1: nothing is pending), 1 when the node has
 * to read on first, 1 when no more may be pending; then for each claim the number of receipts, each as offset, epoch, count,
 * and for each other request 1 or 0 a receipt.
 */
export const callGroup: Script = new Script(`${settle}${group}
local state = settle()
local held = redis.call('HMGET', GROUP, 'filters', 'next', 'seen')
if not held[1] then return { ${groupState.missing}, state.epoch } end
local last = redis.call('HMGET', LAST, 'number', 'answer')
if tonumber(last[1] or 0) > tonumber(ARGV[7]) then return redis.error_reply('ERR the call was answered long ago') end
if last[1] == ARGV[7] then
  -- a write, so that WAIT of this connection waits for the replicas
  redis.call('PEXPIRE', LAST, 3600000)
  return cjson.decode(last[2])
end

-- a write that takes no memory: behind it a server whose memory is full takes the others, so that work goes on
redis.call('HDEL', GROUP, 'none')
local now = state.now
local seen = tonumber(held[3] or now)
if now < seen - 1000 then
  -- the clock went back: what was due in five seconds still is
  local all = redis.call('ZRANGE', DUE, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do redis.call('ZADD', DUE, whole(math.max(0, all[i + 1] - (seen - now))), all[i]) end
end

local epochs = {}
local function epochOf(offset)
  for i = 1, redis.call('LLEN', EPOCHS) do
    if not epochs[i] then
      local epoch, first = string.match(redis.call('LINDEX', EPOCHS, -i), '^(%d+) (%d+)$')
      epochs[i] = { tonumber(epoch), tonumber(first) }
    end
    if epochs[i][2] <= offset then return epochs[i][1] end
  end
  return epochs[#epochs][1]
end

local reached = tonumber(held[2])
local pending = redis.call('HLEN', HELD)
local missed = 0
if state.floor > reached then
  missed = state.floor - reached
  reached = state.floor
end

local head, most = tonumber(ARGV[9]), tonumber(ARGV[10])
local from, to, count = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local behind = head > state.head or (head > 0 and epochOf(head) ~= tonumber(ARGV[8]))
local offered = not behind and from <= reached and to <= head
local offer, stop = 14, 14 + count
local full = 0
if not offered then offer = stop end

local answer = { ${groupState.found}, state.epoch, 0, 0, behind and 1 or 0, 0 }
local function tell(...)
  for _, number in ipairs({ ... }) do answer[#answer + 1] = number end
end

local function give(offset, times, member, ms)
  local epoch = epochOf(offset)
  redis.call('HSET', HELD, whole(offset), whole(epoch) .. ' ' .. whole(times) .. ' ' .. member)
  redis.call('ZADD', DUE, whole(now + ms), whole(offset))
  tell(offset, epoch, times)
end

local function claim(member, wanted, ms)
  tell(0)
  local at = #answer
  local given = 0
  if not behind then
    local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', whole(now), 'LIMIT', 0, 2 * wanted + 16)
    for _, text in ipairs(due) do
      local offset = tonumber(text)
      if given == wanted then break end
      if offset <= state.floor then
        redis.call('HDEL', HELD, text)
        redis.call('ZREM', DUE, text)
        pending = pending - 1
        missed = missed + 1
      elseif offset <= head then
        local times = tonumber(string.match(redis.call('HGET', HELD, text), '^%d+ (%d+) '))
        give(offset, times + 1, member, ms)
        given = given + 1
      end
    end
  end
  while offer < stop and given < wanted do
    local offset = tonumber(ARGV[offer])
    if offset > reached then
      if pending >= most then
        full = 1
        break
      end
      give(offset, 1, member, ms)
      given = given + 1
      pending = pending + 1
      reached = offset
    end
    offer = offer + 1
  end
  answer[at] = given
end

local function take(kind, member, ms, offset, epoch, times)
  if redis.call('HGET', HELD, offset) ~= epoch .. ' ' .. times .. ' ' .. member then return 0 end
  if kind == 'a' then
    redis.call('HDEL', HELD, offset)
    redis.call('ZREM', DUE, offset)
    pending = pending - 1
  else
    redis.call('ZADD', DUE, whole(now + ms), offset)
    if kind == 'r' then redis.call('HSET', HELD, offset, epoch .. ' ' .. times .. ' ') end
  end
  return 1
end

local i = stop
while i <= #ARGV do
  local kind, member = ARGV[i], ARGV[i + 1]
  if kind == 'c' then
    claim(member, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
    i = i + 4
  else
    local ms, receipts = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    i = i + 4
    for _ = 1, receipts do
      tell(take(kind, member, ms, ARGV[i], ARGV[i + 1], ARGV[i + 2]))
      i = i + 3
    end
  end
end

if offered and offer == stop then reached = math.max(reached, to) end
local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
answer[3] = reached
answer[4] = first[1] and math.max(0, first[2] - now) or -1
answer[6] = full
redis.call('HSET', GROUP, 'next', whole(reached), 'seen', whole(now))
if missed > 0 then redis.call('HINCRBY', GROUP, 'missed', whole(missed)) end
redis.call('HSET', LAST, 'number', ARGV[7], 'answer', cjson.encode(answer))
redis.call('PEXPIRE', LAST, 3600000)
return answer
`);

/** Answers: how far the group has come, records pending, due of these, the oldest of them (-1: none), missed. */
export const statusOfGroup: Script = new Script(`${settle}${group}
local state = settle()
local told = redis.call('HMGET', GROUP, 'next', 'missed')
local oldest = -1
for _, text in ipairs(redis.call('HKEYS', HELD)) do
  local offset = tonumber(text)
  if oldest == -1 or offset < oldest then oldest = offset end
end
return { tonumber(told[1] or 0), redis.call('HLEN', HELD), redis.call('ZCOUNT', DUE, '-inf', whole(state.now)), oldest,
  tonumber(told[2] or 0) }
`);
