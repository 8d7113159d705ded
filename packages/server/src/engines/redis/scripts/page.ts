/** Bytes of entries that a script looks at, about: records may be of many megabytes. */
const pageBytes = 2 * 1024 * 1024;

/** `page`: the next entries, at most `count`, and whether they are the last. Few at first, then as many as the budget holds. */
export const page: string = `
local function page(command, from, to, count)
  local entries, bytes, step = {}, 0, 4
  while count > 0 and bytes < ${pageBytes} do
    step = math.min(step, count)
    local some = redis.call(command, KEYS[1], from, to, 'COUNT', step)
    for _, entry in ipairs(some) do
      entries[#entries + 1] = entry
      bytes = bytes + #(entry[2][4] or '')
    end
    if #some < step then return entries, true end
    count = count - step
    from = '(' .. some[#some][1]
    step = math.min(2 * step, math.ceil((${pageBytes} - bytes) * #entries / (bytes + 1)))
  end
  return entries, false
end
`;
