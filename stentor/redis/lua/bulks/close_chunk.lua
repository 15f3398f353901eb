-- Delete the outcomes of a chunk: S3 has them now.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  the bulk's open chunks
-- KEYS[3]  outcomes of the chunk
-- KEYS[4]  numbers of failed rows of the bulk's chunks
-- ARGV[1]  the chunk
-- ARGV[2]  number of outcomes in S3; if Redis has another number by now, nothing is deleted
-- ARGV[3]  number of its rows that failed
-- Answer   1, or 0 if nothing was deleted
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[3])
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] ~= '0' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[3]) end
local left_s = redis.call('TTL', KEYS[1])
if left_s > 0 then redis.call('EXPIRE', KEYS[4], left_s) end
return 1
