-- Note how many rows of a chunk were put into lanes, if it is still open.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  the chunk
-- ARGV[2]  how many
-- Answer   1, or 0 if it is not open
local open = KEYS[1] .. ':open'
if redis.call('HEXISTS', open, ARGV[1]) == 0 then return 0 end
redis.call('HSET', open, ARGV[1], ARGV[2])
return 1
