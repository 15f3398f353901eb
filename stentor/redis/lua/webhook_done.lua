-- Record how an attempt went. Only the courier that still holds the delivery may do it.
--
-- KEYS[1]  stentor:endpoints:due
-- KEYS[2]  the delivery's hash
-- KEYS[3]  the endpoint's hash
-- ARGV[1]  the endpoint's id
-- ARGV[2]  the delivery's id
-- ARGV[3]  the claim: the delivery's number of claims when it was handed out
-- ARGV[4]  now, seconds since the epoch
-- ARGV[5]  seconds for which the delivery is kept
-- ARGV[6]  succeeded, failed, skipped, or pending if it is to be tried again
-- ARGV[7]  when, if it is to be tried again
-- ARGV[8]  the attempts as JSON
-- ARGV[9]  what it says about the endpoint: ok, bad, or nothing
-- ARGV[10] until when the endpoint is to be left alone, 0 if it did not ask for that
-- ARGV[11] failures in a row from which on an endpoint is left alone
-- ARGV[12] for how many seconds it is left alone at first; twice as many after each probe that fails
-- ARGV[13] for how many seconds at most
-- ARGV[14] seconds for which an endpoint is kept that nothing is sent to
-- Answer   1 if it was recorded, 0 if this courier no longer holds the delivery
local delivery, endpoint = KEYS[2], KEYS[3]
local due, running = endpoint .. ':due', endpoint .. ':running'
if not redis.call('ZSCORE', running, ARGV[2]) or redis.call('HGET', delivery, 'claims') ~= ARGV[3] then return 0 end

redis.call('ZREM', running, ARGV[2])
redis.call('HSET', delivery, 'state', ARGV[6], 'log', ARGV[8])
redis.call('HINCRBY', 'stentor:outcomes', 'webhook:' .. ARGV[6], 1)
if ARGV[9] ~= 'nothing' then redis.call('HINCRBY', delivery, 'attempts', 1) end
if ARGV[6] == 'pending' then
  redis.call('HSET', delivery, 'due_at', ARGV[7])
  redis.call('ZADD', due, ARGV[7], ARGV[2])
else
  redis.call('HSET', delivery, 'settled_at', ARGV[4])
  redis.call('HDEL', delivery, 'due_at')
end
redis.call('EXPIRE', delivery, ARGV[5])

local now = tonumber(ARGV[4])
local open_until = tonumber(redis.call('HGET', endpoint, 'open_until') or 0)
if ARGV[9] == 'ok' then
  redis.call('HDEL', endpoint, 'failures', 'open_until')
  open_until = 0
elseif ARGV[9] == 'bad' and open_until <= now then
  -- What was on its way when the endpoint was given up is no further sign.
  local beyond = redis.call('HINCRBY', endpoint, 'failures', 1) - tonumber(ARGV[11])
  if beyond >= 0 then open_until = now + math.min(tonumber(ARGV[13]), tonumber(ARGV[12]) * 2 ^ math.min(beyond, 20)) end
end
open_until = math.max(open_until, tonumber(ARGV[10]))
if open_until > now then redis.call('HSET', endpoint, 'open_until', open_until) end
redis.call('EXPIRE', endpoint, ARGV[14])
redis.call('ZADD', KEYS[1], 'LT', ARGV[4], ARGV[1])
return 1
