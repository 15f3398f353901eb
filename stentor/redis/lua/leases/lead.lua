--!include lease
-- Lead the cluster's schedulers, stay the leader, or stand down. One of them leads at a time.
--
-- KEYS[1]  stentor:leader
-- KEYS[2]  stentor:fence
-- ARGV[1]  token of the caller; no two callers have the same
-- ARGV[2]  ms for which it leads unless it asks again; 0 to stand down
-- Answer   the leader's number, or 0 if the caller does not lead
local leader = redis.call('GET', KEYS[1])
if hold(KEYS[1], ARGV[1], ARGV[2], '') ~= ARGV[1] then return 0 end

local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if not leader or fence == 0 then
  -- Adding one is not enough: a Redis that has lost its data would start again at one, and a process that still acts under
  -- an earlier number would pass for a later leader. The time in microseconds is greater than every number given out: no
  -- two calls of this script begin in the same microsecond.
  local now = redis.call('TIME')
  fence = math.max(fence + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
  redis.call('SET', KEYS[2], string.format('%.0f', fence))
end
return fence
