-- Give due deliveries to a dispatcher, endpoint by endpoint, at most as many of one endpoint as it may have at a time.
--
-- An endpoint that has failed often in a row gets nothing until its `open_until`, and then one delivery at a time until one
-- succeeds. A delivery whose dispatcher does not renew its lease is due again.
--
-- KEYS[1]  stentor:endpoints:due
-- ARGV[1]  now, seconds since the epoch
-- ARGV[2]  maximum number of deliveries
-- ARGV[3]  maximum number of deliveries that one endpoint has at a time
-- ARGV[4]  seconds of the lease
-- ARGV[5]  number of failures in a row from which on an endpoint gets one at a time
-- Answer   {when to ask again, or '', {fields of the delivery, the endpoint as JSON or '', the owner's signing as JSON or
--          ''}, ...}
local now, most, concurrency, lease_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local answer = {''}

local function first(zset)
  return tonumber(redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2])
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 100)) do
  if #answer > most then break end
  local due, running = keys.due(id), keys.running(id)
  for _, lost in ipairs(redis.call('ZRANGEBYSCORE', running, '-inf', ARGV[1])) do
    redis.call('ZREM', running, lost)
    redis.call('ZADD', due, ARGV[1], lost)
  end

  local known = redis.call('HMGET', keys.endpoint(id), 'failures', 'open_until')
  local open_until = tonumber(known[2] or 0)
  local room = 0
  if open_until <= now then
    room = (tonumber(known[1] or 0) >= tonumber(ARGV[5]) and 1 or concurrency) - redis.call('ZCARD', running)
  end
  local take = math.min(room, most - #answer + 1)
  if take > 0 then
    for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[1], 'LIMIT', 0, take)) do
      redis.call('ZREM', due, delivery)
      local key = keys.delivery(delivery)
      if redis.call('EXISTS', key) == 1 then
        room = room - 1
        redis.call('ZADD', running, now + lease_s, delivery)
        redis.call('HINCRBY', key, 'claims', 1)
        local fields = redis.call('HGETALL', key)
        local owner = redis.call('HGET', key, 'owner')
        answer[#answer + 1] = {
          fields,
          redis.call('HGET', keys.webhooks(owner), id) or '',
          redis.call('GET', keys.signing(owner)) or '',
        }
      end
    end
  end

  local at, next_due = first(running), first(due)
  if next_due and (room > 0 or open_until > now) then
    local can = math.max(next_due, open_until)
    at = at and math.min(at, can) or can
  end
  if at then redis.call('ZADD', KEYS[1], at, id) else redis.call('ZREM', KEYS[1], id) end
end

answer[1] = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ''
return answer
