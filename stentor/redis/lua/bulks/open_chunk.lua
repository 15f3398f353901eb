-- Open the next chunk of a bulk: its rows may enter lanes from now on. A chunk that was opened before is not opened again.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  the bulk's open chunks
-- ARGV[1]  the chunk
-- ARGV[2]  now, seconds since the epoch
-- Answer   1 if it is open, or 0: the bulk's state does not allow rows in lanes, or S3 has the chunk
local bulk, chunk = KEYS[1], tonumber(ARGV[1])
local known = redis.call('HMGET', bulk, 'state', 'next_chunk')
if known[1] ~= 'waiting' and known[1] ~= 'running' then return 0 end
if chunk < tonumber(known[2]) then return redis.call('HEXISTS', KEYS[2], chunk) end
redis.call('HSET', bulk, 'state', 'running', 'next_chunk', math.max(tonumber(known[2]), chunk + 1))
redis.call('HSETNX', bulk, 'started_at', ARGV[2])
redis.call('HSETNX', KEYS[2], chunk, 0)
return 1
