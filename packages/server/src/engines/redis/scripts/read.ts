import { page } from './page.ts';
import { Script } from './script.ts';

const read = (command: string): Script =>
  new Script(`${page}
local entries, isLast = page('${command}', ARGV[1], ARGV[2], tonumber(ARGV[3]))
return { redis.call('HGET', KEYS[2], 'floor'), entries, isLast and 1 or 0 }
`);

/** Reads entries of [ARGV 1, ARGV 2], at most ARGV 3: the floor of that moment, the entries, and 1 when there are no more. */
export const readForward: Script = read('XRANGE');

/** The same from ARGV 1 down to ARGV 2. */
export const readBackward: Script = read('XREVRANGE');

/** Entries by their offsets, which are the arguments; those that are there. */
export const readAt: Script = new Script(`
local found = {}
for _, offset in ipairs(ARGV) do
  local entry = redis.call('XRANGE', KEYS[1], offset .. '-0', offset .. '-0')[1]
  if entry then found[#found + 1] = entry end
end
return found
`);

/** The offset of the first record in (ARGV 1, ARGV 2] with time ≥ ARGV 3, or 0: by halving, times never fall. */
export const firstSince: Script = new Script(`
local low, high, time = tonumber(ARGV[1]) + 1, tonumber(ARGV[2]), tonumber(ARGV[3])
local function recordFrom(offset)
  local from = string.format('%.0f', offset) .. '-0'
  while true do
    local entry = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
    if not entry then return nil end
    if entry[2][1] == 'm' then return tonumber(string.match(entry[1], '^(%d+)')), tonumber(entry[2][2]) end
    from = '(' .. entry[1]
  end
end
local found = 0
while low <= high do
  local middle = math.floor((low + high) / 2)
  local offset, at = recordFrom(middle)
  if not offset or offset > high then high = middle - 1
  elseif at >= time then
    found = offset
    high = middle - 1
  else low = offset + 1 end
end
return string.format('%.0f', found)
`);
