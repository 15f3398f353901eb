-- Lead the cluster's schedulers, stay the leader, or stand down. One of them leads at a time.
--
-- KEYS[1]  stentor:leader
-- KEYS[2]  stentor:fence
-- ARGV[1]  who asks; no two have the same name
-- ARGV[2]  ms for which it leads unless it asks again; 0 to stand down
-- Answer   the leader's number, or 0 if it does not lead
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end

local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if not leader or fence == 0 then
  -- Not just one more: a Redis that has lost its data would count anew, and whoever still acts under a number from
  -- before would pass for a later leader. The time in microseconds is beyond all numbers that were given out: no two
  -- calls of this script begin in the same one.
  local now = redis.call('TIME')
  fence = math.max(fence + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
  redis.call('SET', KEYS[2], string.format('%.0f', fence))
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return fence
