-- Forget the outcomes of a chunk: they lie in S3 now.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  the chunk
-- ARGV[2]  how many outcomes lie in S3; if there are more by now, nothing is forgotten
-- ARGV[3]  how many of its rows failed
-- Answer   1, or 0 if nothing was forgotten
local bulk, chunk = KEYS[1], ARGV[1]
local outcomes = bulk .. ':outcomes:' .. chunk
if redis.call('HLEN', outcomes) ~= tonumber(ARGV[2]) then return 0 end
redis.call('DEL', outcomes)
redis.call('HDEL', bulk .. ':open', chunk)
if ARGV[3] ~= '0' then redis.call('HSET', bulk .. ':failures', chunk, ARGV[3]) end
local left_s = redis.call('TTL', bulk)
if left_s > 0 then redis.call('EXPIRE', bulk .. ':failures', left_s) end
return 1
