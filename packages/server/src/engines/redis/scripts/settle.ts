/**
 * What every script that writes begins with: `settle` reads the state of the log, and begins a new epoch when the server is
 * another than the one that wrote last (restarted, promoted), or lost it all.
 *
 * ARGV 1–6: id of the log, epoch, head and time as the caller knows them, the caller's clock (ms), and how far that may be
 * from the server's.
 */
export const settle = `
local LOG, STATE, EPOCHS, IDS, IDORDER, PRODUCERS, ENDED, TOPICS, NEWEST, DELETED = unpack(KEYS)

local function whole(number)
  return string.format('%.0f', number)
end

local function settle()
  local served = redis.call('TIME')
  local own = served[1] * 1000 + math.floor(served[2] / 1000)
  local skew = tonumber(ARGV[6])
  local now = math.max(own - skew, math.min(own + skew, tonumber(ARGV[5])))
  local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local held = redis.call('HMGET', STATE, 'id', 'epoch', 'head', 'time', 'floor', 'bytes', 'run')
  local state = { now = now }
  if held[1] then
    state.id = held[1]
    state.epoch = tonumber(held[2])
    state.head = tonumber(held[3])
    state.time = tonumber(held[4])
    state.floor = tonumber(held[5])
    state.bytes = tonumber(held[6])
    if held[7] == run then return state end
  else
    redis.call('DEL', LOG, EPOCHS, IDS, IDORDER, PRODUCERS, ENDED, TOPICS, NEWEST, DELETED)
    state.id = ARGV[1]
    state.epoch = tonumber(ARGV[2])
    state.head = tonumber(ARGV[3])
    state.time = tonumber(ARGV[4])
    state.floor = state.head
    state.bytes = 0
  end
  -- a write that takes no memory: behind it a server whose memory is full takes the others, and can be trimmed
  redis.call('HDEL', STATE, 'none')
  state.epoch = math.max(state.epoch + 1, math.floor(now / 1000))
  redis.call('HSET', STATE, 'id', state.id, 'epoch', whole(state.epoch), 'head', whole(state.head),
    'time', whole(state.time), 'floor', whole(state.floor), 'bytes', whole(state.bytes), 'run', run)
  redis.call('RPUSH', EPOCHS, whole(state.epoch) .. ' ' .. whole(state.head + 1))
  return state
end

-- an entry that is no record: it stands behind the newest one
local function note(state, ...)
  local count = redis.call('HINCRBY', STATE, 'notes', 1)
  return redis.call('XADD', LOG, whole(state.head) .. '-' .. count, ...)
end
`;
