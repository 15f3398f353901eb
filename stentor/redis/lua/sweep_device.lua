-- Forget a device that was not heard of for long. Lanes forget it by themselves.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  stentor:devices
-- KEYS[3]  what the device reported last
-- ARGV[1]  the sweeper's token
-- ARGV[2]  the device
-- ARGV[3]  seconds since the epoch; a device that was heard of later stays
-- ARGV[4..] keys of whatever else there is of it
-- Answer   1 if it was forgotten, else 0
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local seen_at = redis.call('HGET', KEYS[3], 'seen_at')
if seen_at and tonumber(seen_at) > tonumber(ARGV[3]) then return 0 end
redis.call('DEL', KEYS[3], unpack(ARGV, 4))
redis.call('SREM', 'stentor:overridden', ARGV[2])
return redis.call('SREM', KEYS[2], ARGV[2])
