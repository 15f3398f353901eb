-- Count characters that a key submits outside of lanes (rows of a bulk wait in S3), unless they are more than it may.
--
-- KEYS[1]  stentor:usage:<key id>:<day>
-- KEYS[2]  stentor:usage:<owner>
-- ARGV[1]  the key's id
-- ARGV[2]  characters
-- ARGV[3]  characters that the key may submit today, -1 for any number
-- ARGV[4]  seconds for which usage is kept
-- Answer   -1 if they are counted, else how many the key has submitted today
local used = tonumber(redis.call('HGET', KEYS[1], 'characters') or 0)
if ARGV[3] ~= '-1' and used + ARGV[2] > tonumber(ARGV[3]) then return used end
redis.call('HINCRBY', KEYS[1], 'characters', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
return -1
