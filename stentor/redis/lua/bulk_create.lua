-- Put a bulk down whose file lies in S3. Sending it twice changes nothing.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  index of the owner's bulks
-- KEYS[3]  stentor:active_bulks
-- ARGV[1]  its id
-- ARGV[2..] fields and values of the hash
-- Answer   1 if it was put down, 0 if there is one of this id
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('ZADD', KEYS[2], 0, ARGV[1])
-- The feeder sees to it that the file is checked, should the word about it be lost.
redis.call('SADD', KEYS[3], ARGV[1])
return 1
