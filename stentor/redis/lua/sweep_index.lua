-- Take ids out of an index whose records have expired.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the index
-- ARGV[1]  the sweeper's token
-- ARGV[2]  what keys of the records begin with
-- ARGV[3..] ids
-- Answer   how many were taken out
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local taken = 0
for at = 3, #ARGV do
  if redis.call('EXISTS', ARGV[2] .. ARGV[at]) == 0 then taken = taken + redis.call('ZREM', KEYS[2], ARGV[at]) end
end
return taken
