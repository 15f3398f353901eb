--!shared
-- What waits again of what devices hold: jobs of which they have been silent. What waits besides is noted of the lanes.
-- It takes no keys, for a scheduler may call it: Redis lets nobody call a script with a key that they may not write.
--
-- ARGV[1]   consumer group
-- ARGV[2]   after how many ms of silence a device's jobs count as waiting again
-- ARGV[3]   in how many of the lanes, the first ones, nothing else waits
-- ARGV[4..] the lanes
-- Answer    {which, how many, when the oldest came in ms since the epoch, ...} of the lanes with such jobs, counted from
--           0; at most 1,000 per lane are counted
local group, silent_ms, only_held = ARGV[1], ARGV[2], ARGV[3] + 3
local answer = {}
for at = 4, #ARGV do
  local lost = redis.pcall('XPENDING', ARGV[at], group, 'IDLE', silent_ms, '-', '+', 1000)
  if lost[1] then
    answer[#answer + 1] = at - 4
    answer[#answer + 1] = #lost
    answer[#answer + 1] = string.match(lost[1][1], '^%d+')
  elseif lost.err or (at <= only_held and redis.call('XPENDING', ARGV[at], group)[1] == 0) then
    -- All has been settled, or the lane is gone.
    note(ARGV[at], group)
  end
end
return answer
