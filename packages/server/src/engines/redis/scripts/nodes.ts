import { Script } from './script.ts';

/**
 * A node says that it is there. KEYS: nodes, state. ARGV: its id, since when, its head, about it (JSON), for how long nodes
 * are known that say nothing (ms). Answers the head of the log, then for each node: id, ms since it said so, since when, its
 * head, how many records the server had beyond that, about it.
 */
export const beat: Script = new Script(`
local NODES, STATE = unpack(KEYS)
local served = redis.call('TIME')
local now = served[1] * 1000 + math.floor(served[2] / 1000)
local head = tonumber(redis.call('HGET', STATE, 'head') or 0)
local function whole(number) return string.format('%.0f', number) end
redis.call('HSET', NODES, ARGV[1],
  table.concat({ whole(now), ARGV[2], ARGV[3], whole(math.max(0, head - tonumber(ARGV[3]))), ARGV[4] }, ' '))
local answer = { head }
local all = redis.call('HGETALL', NODES)
for i = 1, #all, 2 do
  local said, since, at, lag, about = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  -- by a clock that goes back all would be there for ever
  local silence = math.abs(now - tonumber(said))
  if silence > tonumber(ARGV[5]) then redis.call('HDEL', NODES, all[i])
  else
    for _, value in ipairs({ all[i], silence, since, at, lag, about }) do answer[#answer + 1] = value end
  end
end
return answer
`);
