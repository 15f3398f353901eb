--!include lanes
-- Count the claimed jobs that wait again because their devices have been silent. The other waiting jobs are in the records
-- of the lanes. It takes no keys because a scheduler calls it: Redis refuses a script with a key that the caller may not
-- write.
--
-- ARGV[1]   consumer group of every lane
-- ARGV[2]   ms of silence after which a device's jobs count as waiting again
-- ARGV[3]   number of lanes, the first ones, in which nothing else waits
-- ARGV[4..] the lanes
-- Answer    {position of the lane from 0, number of jobs, when the oldest came in ms since the epoch, ...} of the lanes
--           with such jobs; at most 1,000 per lane are counted
local group, silent_ms, only_held = ARGV[1], ARGV[2], ARGV[3] + 3
local answer = {}
for at = 4, #ARGV do
  local lost = redis.pcall('XPENDING', ARGV[at], group, 'IDLE', silent_ms, '-', '+', 1000)
  if lost[1] then
    answer[#answer + 1] = at - 4
    answer[#answer + 1] = #lost
    answer[#answer + 1] = string.match(lost[1][1], '^%d+')
  elseif lost.err or (at <= only_held and redis.call('XPENDING', ARGV[at], group)[1] == 0) then
    -- Everything was settled, or the lane is gone.
    note_lane(ARGV[at], group)
  end
end
return answer
