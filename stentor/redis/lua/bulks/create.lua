-- Create a bulk whose file is in S3. Sending it twice changes nothing.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  index of the owner's bulks
-- KEYS[3]  stentor:active_bulks
-- ARGV[1]  the bulk's id
-- ARGV[2..] fields and values of the hash
-- Answer   1 if it was created, 0 if it existed
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('ZADD', KEYS[2], 0, ARGV[1])
-- If the message that starts the check is lost, the feeder sends it again.
redis.call('SADD', KEYS[3], ARGV[1])
return 1
