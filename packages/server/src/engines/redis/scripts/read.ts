import { Script } from './script.ts';

/** Bytes of one answer, about: records may be of many megabytes. */
const pageBytes = 2 * 1024 * 1024;

/** Few at first, then as many as the budget holds of that size. */
const page = `
local function page(command)
  local from, to, count, step = ARGV[1], ARGV[2], tonumber(ARGV[3]), 4
  local entries, bytes = {}, 0
  while count > 0 and bytes < ${pageBytes} do
    step = math.min(step, count)
    local some = redis.call(command, KEYS[1], from, to, 'COUNT', step)
    for _, entry in ipairs(some) do
      entries[#entries + 1] = entry
      bytes = bytes + #(entry[2][4] or '')
    end
    if #some < step then return { redis.call('HGET', KEYS[2], 'floor'), entries, 1 } end
    count = count - step
    from = '(' .. some[#some][1]
    step = math.min(2 * step, math.ceil((${pageBytes} - bytes) * #entries / (bytes + 1)))
  end
  return { redis.call('HGET', KEYS[2], 'floor'), entries, 0 }
end
`;

/** Reads entries of [ARGV 1, ARGV 2], at most ARGV 3: the floor of that moment, the entries, and 1 when there are no more. */
export const readForward: Script = new Script(`${page}
return page('XRANGE')
`);

/** The same from ARGV 1 down to ARGV 2. */
export const readBackward: Script = new Script(`${page}
return page('XREVRANGE')
`);

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
