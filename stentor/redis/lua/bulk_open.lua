-- Open the next chunk of a bulk: its rows may enter lanes from now on. One that was opened before is not opened again.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  the chunk
-- ARGV[2]  now, seconds since the epoch
-- Answer   1 if it is open, or 0: the bulk is in no state in which rows are put into lanes, or the chunk is in S3 already
local bulk, chunk = KEYS[1], tonumber(ARGV[1])
local known = redis.call('HMGET', bulk, 'state', 'next_chunk')
if known[1] ~= 'waiting' and known[1] ~= 'running' then return 0 end
if chunk < tonumber(known[2]) then return redis.call('HEXISTS', bulk .. ':open', chunk) end
redis.call('HSET', bulk, 'state', 'running', 'next_chunk', math.max(tonumber(known[2]), chunk + 1))
redis.call('HSETNX', bulk, 'started_at', ARGV[2])
redis.call('HSETNX', bulk .. ':open', chunk, 0)
return 1
