import { recordFlags, recordHeaderBytes } from '../../../log/disk/segment/record-codec.ts';

/**
 * Reads the bytes of a record (see record-codec.ts) as far as scripts need them: `topicOf`, and `partsOf`, which gives its
 * topic, whether it ends that, its id and its key; nil for what it does not have.
 */
export const readRecord: string = `
local function topicOf(record)
  return string.sub(record, ${recordHeaderBytes + 1}, ${recordHeaderBytes} + struct.unpack('<I2', string.sub(record, 25, 26)))
end

local function partsOf(record)
  local topic = topicOf(record)
  local flags = struct.unpack('<I2', string.sub(record, 23, 24))
  local at = ${recordHeaderBytes + 1} + #topic
  local function field(flag)
    if bit.band(flags, flag) == 0 then return nil end
    local size = struct.unpack('<I4', string.sub(record, at, at + 3))
    at = at + 4 + size
    return string.sub(record, at - size, at - 1)
  end
  field(${recordFlags.event})
  local id = field(${recordFlags.id})
  local key = field(${recordFlags.key})
  return topic, bit.band(flags, ${recordFlags.end}) ~= 0, id, key
end
`;
