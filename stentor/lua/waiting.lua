-- What waits in all lanes at this moment. The cost does not grow with the lanes' depth.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:held
-- ARGV[1]  consumer group
-- ARGV[2]  after how many ms of silence a device's jobs count as waiting again
-- Answer   list of {lane, waiting, ms since the epoch at which the oldest of them came, 1 if its priority is held}; empty
--          lanes are left out
local answer, held = {}, {}
for _, priority in ipairs(redis.call('SMEMBERS', KEYS[2])) do held[priority] = 1 end
for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local group = redis.pcall('XINFO', 'GROUPS', lane)
  group = not group.err and group[1]
  if group then
    local delivered, pending = group[8], group[6]
    local waiting = redis.call('XLEN', lane) - pending
    local oldest = waiting > 0 and redis.call('XRANGE', lane, '(' .. delivered, '+', 'COUNT', 1)[1]
    local head = oldest and oldest[1]
    if pending > 0 then
      local lost = redis.call('XPENDING', lane, ARGV[1], 'IDLE', ARGV[2], '-', '+', 1000)
      waiting = waiting + #lost
      if lost[1] then head = lost[1][1] end
    end
    if waiting > 0 and head then
      local priority = string.match(lane, '([^:]+):[^:]+$')
      answer[#answer + 1] = {lane, waiting, string.match(head, '^%d+'), held[priority] or 0}
    end
  end
end
return answer
