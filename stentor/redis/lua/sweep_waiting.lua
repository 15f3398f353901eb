-- Forget how many jobs of an owner's keys wait, if no job of the owner does: a count that went wrong would keep a key
-- from submitting for ever.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  index of the owner's jobs without an outcome
-- ARGV[1]  the sweeper's token
-- ARGV[2..] keys of the counts
-- Answer   how many of them there were
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

if #ARGV == 1 or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('DEL', unpack(ARGV, 2))
