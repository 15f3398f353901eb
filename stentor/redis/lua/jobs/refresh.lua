-- Renew a device's claims of entries of a lane, so that no other device takes them for lost.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the device
-- ARGV[3..] entries
-- Answer   number of entries that the device still holds
local held = 0
for at = 3, #ARGV do
  -- XCLAIM without this check would take back an entry that another device has rightly taken over.
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    held = held + 1
  end
end
return held
