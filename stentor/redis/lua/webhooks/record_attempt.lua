-- Record the result of an attempt. Only the dispatcher that still holds the delivery can do so.
--
-- KEYS[1]  stentor:endpoints:due
-- KEYS[2]  the delivery's hash
-- KEYS[3]  the endpoint's hash
-- KEYS[4]  the endpoint's due deliveries
-- KEYS[5]  the endpoint's running deliveries
-- ARGV[1]  the endpoint's id
-- ARGV[2]  the delivery's id
-- ARGV[3]  the claim: the delivery's number of claims when it was claimed
-- ARGV[4]  now, seconds since the epoch
-- ARGV[5]  seconds for which the delivery is kept
-- ARGV[6]  succeeded, failed, skipped, or pending if another attempt follows
-- ARGV[7]  when the next attempt follows
-- ARGV[8]  the attempts as JSON
-- ARGV[9]  what the attempt says about the endpoint: ok, bad or nothing
-- ARGV[10] time until which the endpoint asked for no attempts, or 0
-- ARGV[11] number of failures in a row from which on an endpoint is paused
-- ARGV[12] seconds of the first pause; each failed probe doubles them
-- ARGV[13] maximum number of these seconds
-- ARGV[14] seconds for which an endpoint without deliveries is kept
-- Answer   1 if it was recorded, 0 if this dispatcher no longer holds the delivery
local delivery, endpoint, due, running = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if not redis.call('ZSCORE', running, ARGV[2]) or redis.call('HGET', delivery, 'claims') ~= ARGV[3] then return 0 end

redis.call('ZREM', running, ARGV[2])
redis.call('HSET', delivery, 'state', ARGV[6], 'log', ARGV[8])
redis.call('HINCRBY', keys.OUTCOMES, 'webhook:' .. ARGV[6], 1)
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
  -- Deliveries that were under way when the pause began do not extend it.
  local beyond = redis.call('HINCRBY', endpoint, 'failures', 1) - tonumber(ARGV[11])
  if beyond >= 0 then open_until = now + math.min(tonumber(ARGV[13]), tonumber(ARGV[12]) * 2 ^ math.min(beyond, 20)) end
end
open_until = math.max(open_until, tonumber(ARGV[10]))
if open_until > now then redis.call('HSET', endpoint, 'open_until', open_until) end
redis.call('EXPIRE', endpoint, ARGV[14])
redis.call('ZADD', KEYS[1], 'LT', ARGV[4], ARGV[1])
return 1
