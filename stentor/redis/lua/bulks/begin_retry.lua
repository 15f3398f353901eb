-- Begin to retry a bulk's failed rows: all its chunks are in S3, and those with failed rows are processed once more.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  numbers of failed rows of its chunks
-- KEYS[3]  its chunks to retry
-- Answer   number of rows that will be retried; 0 if no retry was asked for
local bulk = KEYS[1]
if redis.call('HGET', bulk, 'retry_wanted') ~= 'true' then return 0 end
local rows, chunks = 0, redis.call('HGETALL', KEYS[2])
for at = 1, #chunks, 2 do
  redis.call('SADD', KEYS[3], chunks[at])
  rows = rows + tonumber(chunks[at + 1])
end
redis.call('DEL', KEYS[2])
redis.call('HDEL', bulk, 'retry_wanted')
redis.call('HINCRBY', bulk, 'failed', -rows)
redis.call('HINCRBY', bulk, 'settled', -rows)
return rows
