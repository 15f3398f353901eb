-- Say that a device still holds these entries of a lane, so that nobody takes them for lost.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group
-- ARGV[2]  the device
-- ARGV[3..] entries
-- Answer   how many of them the device still holds
local held = 0
for at = 3, #ARGV do
  -- Claiming without looking would take back what another device has rightly taken over.
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    held = held + 1
  end
end
return held
