-- Count the characters of a bulk, once even if its file is checked several times, unless they exceed what the API key may
-- submit in a day.
--
-- KEYS[1]  usage of the API key today
-- KEYS[2]  ids of the owner's API keys that were ever used
-- KEYS[3]  the bulk's hash
-- ARGV[1]  id of the API key
-- ARGV[2]  number of characters
-- ARGV[3]  characters that it may submit in a day; -1 for no limit
-- Answer   -1 if they are counted, now or before, else the characters counted today so far
if redis.call('HEXISTS', KEYS[3], 'chars_counted') == 1 then return -1 end
local used = tonumber(redis.call('HGET', KEYS[1], 'characters') or 0)
if ARGV[3] ~= '-1' and used + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return used end
redis.call('HINCRBY', KEYS[1], 'characters', ARGV[2])
redis.call('EXPIRE', KEYS[1], USAGE_KEPT_S)
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], 'chars_counted', 'true')
return -1
