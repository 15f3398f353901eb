-- Begin to try a bulk's failed rows again: all its chunks are in S3, those with failures are to be gone over once more.
--
-- KEYS[1]  the bulk's hash
-- Answer   how many rows will be tried again; 0 if nobody wants that
local bulk = KEYS[1]
if redis.call('HGET', bulk, 'retry_wanted') ~= 'true' then return 0 end
local rows, chunks = 0, redis.call('HGETALL', bulk .. ':failures')
for at = 1, #chunks, 2 do
  redis.call('SADD', bulk .. ':redo', chunks[at])
  rows = rows + tonumber(chunks[at + 1])
end
redis.call('DEL', bulk .. ':failures')
redis.call('HDEL', bulk, 'retry_wanted')
redis.call('HINCRBY', bulk, 'failed', -rows)
redis.call('HINCRBY', bulk, 'settled', -rows)
return rows
