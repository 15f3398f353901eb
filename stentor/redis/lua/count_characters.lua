-- Count the characters of a bulk, once however often its file is checked, unless it would be more than the API key may
-- submit in a day.
--
-- KEYS[1]  what the key used today
-- KEYS[2]  ids of the owner's keys that ever used something
-- KEYS[3]  the bulk
-- ARGV[1]  id of the key
-- ARGV[2]  how many characters
-- ARGV[3]  how many it may submit in a day, -1 for any number
-- ARGV[4]  seconds for which the usage of a day is kept
-- Answer   -1 if they were counted, now or before, else how many were counted today before
if redis.call('HEXISTS', KEYS[3], 'chars_counted') == 1 then return -1 end
local used = tonumber(redis.call('HGET', KEYS[1], 'characters') or 0)
if ARGV[3] ~= '-1' and used + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return used end
redis.call('HINCRBY', KEYS[1], 'characters', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], 'chars_counted', 'true')
return -1
