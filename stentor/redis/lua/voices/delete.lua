-- Delete an owner's uploaded voice: it can no longer be found. Its objects in S3 are removed after its last use.
--
-- KEYS[1]  stentor:recordings:<owner>
-- KEYS[2]  stentor:recording:deleted
-- ARGV[1]  its name
-- ARGV[2]  its id
-- Answer   1 if it existed, else 0
local there = redis.call('HGET', KEYS[1], ARGV[1])
if not there or cjson.decode(there).id ~= ARGV[2] then return 0 end

redis.call('HSET', KEYS[2], ARGV[2], there)
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
