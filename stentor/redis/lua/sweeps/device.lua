--!include fence
-- Forget a device that has not reported for long. Lanes forget it by themselves.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  stentor:devices
-- KEYS[3]  the device's last report
-- KEYS[4]  stentor:overridden
-- ARGV[1]  the sweeper's token
-- ARGV[2]  the device
-- ARGV[3]  seconds since the epoch; a device that has reported later stays
-- ARGV[4..] the other keys of the device
-- Answer   1 if it was forgotten, else 0
if is_overtaken() then return OVERTAKEN end

local seen_at = redis.call('HGET', KEYS[3], 'seen_at')
if seen_at and tonumber(seen_at) > tonumber(ARGV[3]) then return 0 end
redis.call('DEL', KEYS[3], unpack(ARGV, 4))
redis.call('SREM', KEYS[4], ARGV[2])
return redis.call('SREM', KEYS[2], ARGV[2])
