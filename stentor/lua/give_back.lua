-- Give a claimed job back unspoken: any device may take it at once, and the delivery does not count as an attempt.
--
-- KEYS[1]  the job's hash
-- KEYS[2]  the lane
-- ARGV[1]  consumer group
-- ARGV[2]  the device that holds it
-- ARGV[3]  entry in the lane
-- ARGV[4]  the delivery: the job's number of attempts when it was claimed
-- ARGV[5]  consumer name under which given-back jobs wait
-- Answer   1 if it was given back, 0 if this delivery no longer holds the job
local job, lane, group, device, entry = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HMGET', job, 'state', 'attempts', 'owner', 'id')
if known[1] ~= 'running' or known[2] ~= ARGV[4] then return 0 end
if #redis.call('XPENDING', lane, group, entry, entry, 1, device) == 0 then return 0 end

-- An entry stays at its place in the stream and is as old as can be, so 'lost' claims take it first.
redis.call('XCLAIM', lane, group, ARGV[5], 0, entry, 'IDLE', 2000000000, 'JUSTID')
redis.call('HINCRBY', job, 'attempts', -1)
redis.call('HSET', job, 'state', 'queued')
redis.call('HDEL', job, 'started_at', 'device')
redis.call('ZREM', 'stentor:jobs:' .. known[3] .. ':running', known[4])
redis.call('ZADD', 'stentor:jobs:' .. known[3] .. ':queued', 0, known[4])
return 1
