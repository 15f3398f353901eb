-- Hold priorities back from all devices, or end that.
--
-- KEYS[1]   stentor:fence
-- KEYS[2]   stentor:held
-- ARGV[1]   the leader's number
-- ARGV[2]   ms for which they are held unless the hold is renewed
-- ARGV[3..] the priorities; none ends the hold
-- Answer    'began' or 'ended' for what has changed, 'same' if nothing has, 'late' if the caller no longer leads
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'late' end
local before = redis.call('SMEMBERS', KEYS[2])
local held, ended, began = {}, false, #ARGV - 2 > #before
for at = 3, #ARGV do held[ARGV[at]] = true end
for _, priority in ipairs(before) do ended = ended or not held[priority] end

redis.call('DEL', KEYS[2])
for priority in pairs(held) do redis.call('SADD', KEYS[2], priority) end
if next(held) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return ended and 'ended' or began and 'began' or 'same'
