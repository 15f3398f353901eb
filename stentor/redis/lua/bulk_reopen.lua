-- Open a chunk again whose failed rows are tried again: the outcomes of the others stay.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  the chunk
-- ARGV[2..] row and outcome as JSON of those that stay
-- Answer   1, or 0 if it was opened before
local bulk, chunk = KEYS[1], ARGV[1]
if redis.call('SREM', bulk .. ':redo', chunk) == 0 then return 0 end
for at = 2, #ARGV, 2 do
  redis.call('HSET', bulk .. ':outcomes:' .. chunk, ARGV[at], ARGV[at + 1])
end
redis.call('HSET', bulk .. ':open', chunk, 0)
return 1
