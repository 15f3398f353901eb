-- Record how many rows of a chunk were added to lanes, if the chunk is still open.
--
-- KEYS[1]  the bulk's open chunks
-- ARGV[1]  the chunk
-- ARGV[2]  number of rows
-- Answer   1, or 0 if it is not open
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
