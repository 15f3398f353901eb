-- Create deliveries for their endpoints. Sending it twice adds nothing: a delivery that exists is skipped, and so is one
-- whose endpoint was deleted meanwhile.
--
-- KEYS[1]  stentor:endpoints:due
-- ARGV[1]  now, seconds since the epoch
-- ARGV[2]  seconds for which a delivery is kept
-- ARGV[3]  JSON list of {id, endpoint: id, owner, state, origin: of an implicit endpoint or '', fields: {name, value, ...}}
-- Answer   number of new deliveries
local now, kept_s = ARGV[1], ARGV[2]
local new = 0
for _, one in ipairs(cjson.decode(ARGV[3])) do
  local delivery, endpoint, index = keys.delivery(one.id), keys.endpoint(one.endpoint), keys.deliveries(one.endpoint)
  local known = one.origin ~= '' or redis.call('HEXISTS', keys.webhooks(one.owner), one.endpoint) == 1
  if known and redis.call('EXISTS', delivery) == 0 then
    new = new + 1
    redis.call('HSET', delivery, unpack(one.fields))
    redis.call('EXPIRE', delivery, kept_s)
    redis.call('ZADD', index, now, one.id)
    redis.call('ZREMRANGEBYSCORE', index, '-inf', tonumber(now) - tonumber(kept_s))
    redis.call('EXPIRE', index, kept_s)
    redis.call('HSET', endpoint, 'owner', one.owner)
    if one.origin ~= '' then
      redis.call('HSET', endpoint, 'origin', one.origin)
      redis.call('HSETNX', endpoint, 'created_at', now)
      redis.call('ZADD', keys.callbacks(one.owner), now, one.endpoint)
      redis.call('EXPIRE', keys.callbacks(one.owner), kept_s)
    end
    redis.call('EXPIRE', endpoint, kept_s)
    if one.state == 'pending' then
      redis.call('ZADD', keys.due(one.endpoint), now, one.id)
      redis.call('ZADD', KEYS[1], 'LT', now, one.endpoint)
    end
  end
end
return new
