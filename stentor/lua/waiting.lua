--!shared
-- What waits in all lanes at this moment. The cost grows neither with the lanes' depth nor with empty lanes.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:held
-- KEYS[3]  stentor:backlog
-- ARGV[1]  consumer group
-- ARGV[2]  after how many ms of silence a device's jobs count as waiting again
-- Answer   {the priorities that are held; the key of each lane that is not empty, how many wait there, and ms since the
--          epoch at which the oldest came}. The latter is one text with zero bytes between, for ten thousand answers
--          take longer to read than to find
local group = ARGV[1]

local function noted_of_all()
  local noted = redis.call('HVALS', KEYS[3])
  if #noted > 0 then return noted end
  -- Nobody has noted anything yet. The field without a name says that somebody has looked.
  for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do note(lane, group) end
  redis.call('HSET', KEYS[3], '', '')
  return redis.call('HVALS', KEYS[3])
end

-- What is told of a lane of which devices hold something: with what they have been silent about, of which at most 1,000
-- are counted. Empty if nothing waits.
local function with_lost(noted)
  local lane, waiting, ms = string.match(noted, '^(%Z+)%z(%d+)%z(%d+)')
  local lost = redis.pcall('XPENDING', lane, group, 'IDLE', ARGV[2], '-', '+', 1000)
  if lost.err or (#lost == 0 and waiting == '0' and redis.call('XPENDING', lane, group)[1] == 0) then
    -- All has been settled, or the lane is gone.
    note(lane, group)
  end
  if #lost > 0 then waiting, ms = waiting + #lost, string.match(lost[1][1], '^%d+') end
  return tonumber(waiting) > 0 and lane .. '\0' .. waiting .. '\0' .. ms or ''
end

local lanes = {}
for _, line in ipairs(noted_of_all()) do
  if string.byte(line, -1) == 43 then line = with_lost(line) end
  if line ~= '' then lanes[#lanes + 1] = line end
end
return {redis.call('SMEMBERS', KEYS[2]), table.concat(lanes, '\0')}
