-- Give claimed jobs back unspoken: any device may take them at once, and the deliveries do not count as attempts.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group
-- ARGV[2]  the device that holds them
-- ARGV[3]  consumer name under which given-back jobs wait
-- ARGV[4..] for each job its id, its entry in the lane, and the delivery: its number of attempts when it was claimed
-- Answer   how many were given back; the others this device no longer holds
local lane, group, device = KEYS[1], ARGV[1], ARGV[2]
local given = 0
for at = 4, #ARGV, 3 do
  local id, entry, attempts = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = 'stentor:job:' .. id
  local known = redis.call('HMGET', job, 'state', 'attempts', 'owner')
  local ours = known[1] == 'running' and known[2] == attempts
  if ours and #redis.call('XPENDING', lane, group, entry, entry, 1, device) > 0 then
    -- An entry stays at its place in the stream and is as old as can be, so 'lost' claims take it first.
    redis.call('XCLAIM', lane, group, ARGV[3], 0, entry, 'IDLE', 2000000000, 'JUSTID')
    redis.call('HINCRBY', job, 'attempts', -1)
    redis.call('HSET', job, 'state', 'queued')
    redis.call('HDEL', job, 'started_at', 'device')
    redis.call('ZREM', 'stentor:jobs:' .. known[3] .. ':running', id)
    given = given + 1
  end
end
return given
