--!shared
-- What waits in lanes of which devices hold something: besides what no device was ever handed, what devices have been
-- silent about. What waits in other lanes is what is noted of them. It takes no keys, for a scheduler may call it:
-- Redis lets nobody call a script with a key that they may not write.
--
-- ARGV[1]   consumer group
-- ARGV[2]   after how many ms of silence a device's jobs count as waiting again
-- ARGV[3..] what is noted of each lane
-- Answer    the same for those in which something waits, without the `+`. Of lost jobs at most 1,000 per lane are counted
local group, silent_ms = ARGV[1], ARGV[2]
local answer = {}
for at = 3, #ARGV do
  local lane, waiting, ms = string.match(ARGV[at], '^(%Z+)%z(%d+)%z(%d+)')
  local lost = redis.pcall('XPENDING', lane, group, 'IDLE', silent_ms, '-', '+', 1000)
  if lost.err or (#lost == 0 and waiting == '0' and redis.call('XPENDING', lane, group)[1] == 0) then
    -- All has been settled, or the lane is gone.
    note(lane, group)
  end
  if #lost > 0 then waiting, ms = waiting + #lost, string.match(lost[1][1], '^%d+') end
  if waiting ~= '0' then answer[#answer + 1] = lane .. '\0' .. waiting .. '\0' .. ms end
end
return answer
