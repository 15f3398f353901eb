-- Open a chunk again to retry its failed rows. The outcomes of the other rows stay.
--
-- KEYS[1]  the bulk's chunks to retry
-- KEYS[2]  outcomes of the chunk
-- KEYS[3]  the bulk's open chunks
-- ARGV[1]  the chunk
-- ARGV[2..] row and outcome as JSON of the rows that stay
-- Answer   1, or 0 if it was opened before
if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
for at = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
redis.call('HSET', KEYS[3], ARGV[1], 0)
return 1
