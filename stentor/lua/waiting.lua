--!shared
-- What waits in all lanes at this moment. The cost grows neither with the lanes' depth nor with the lanes that are empty.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:held
-- KEYS[3]  stentor:backlog
-- ARGV[1]  consumer group
-- ARGV[2]  after how many ms of silence a device's jobs count as waiting again
-- Answer   {the priorities that are held, a line `<lane> <waiting> <ms since the epoch at which the oldest came>` for
--          each lane that is not empty}: one text, for ten thousand answers take longer to read than to find
local group = ARGV[1]

local function noted_of_all()
  local noted = redis.call('HGETALL', KEYS[3])
  if #noted > 0 then return noted end
  -- Nobody has noted anything yet. The field without a name says that somebody has looked.
  for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do note(lane, group) end
  redis.call('HSET', KEYS[3], '', '')
  return redis.call('HGETALL', KEYS[3])
end

-- With what devices hold and have been silent about. Of that at most 1,000 are counted.
local function with_lost(lane, noted)
  local lost = redis.pcall('XPENDING', lane, group, 'IDLE', ARGV[2], '-', '+', 1000)
  if lost.err or (#lost == 0 and string.byte(noted) == 48 and redis.call('XPENDING', lane, group)[1] == 0) then
    -- All has been settled, or the lane is gone.
    note(lane, group)
    noted = redis.call('HGET', KEYS[3], lane) or '0 0'
  end
  if #lost == 0 then return string.match(noted, '^[^+]+') end
  return string.match(noted, '^%d+') + #lost .. ' ' .. string.match(lost[1][1], '^%d+')
end

local noted, lines = noted_of_all(), {}
for at = 1, #noted, 2 do
  local lane, waits = noted[at], noted[at + 1]
  if string.byte(waits, -1) == 43 then waits = with_lost(lane, waits) end
  if string.byte(waits) ~= 48 and lane ~= '' then lines[#lines + 1] = lane .. ' ' .. waits end
end
return {redis.call('SMEMBERS', KEYS[2]), table.concat(lines, '\n')}
