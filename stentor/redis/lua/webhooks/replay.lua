-- Send settled deliveries once more, with all their attempts again.
--
-- KEYS[1]  stentor:endpoints:due
-- KEYS[2]  the endpoint's hash
-- KEYS[3]  the endpoint's due deliveries
-- KEYS[4]  index of the endpoint's deliveries
-- ARGV[1]  the endpoint's id
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a delivery is kept
-- ARGV[4..] ids of the deliveries
-- Answer   number of deliveries that will be sent; those that wait to be sent anyway are skipped
local sent = 0
for at = 4, #ARGV do
  local delivery = keys.delivery(ARGV[at])
  local state = redis.call('HGET', delivery, 'state')
  if state and state ~= 'pending' then
    redis.call('HSET', delivery, 'state', 'pending', 'attempts', 0, 'due_at', ARGV[2])
    redis.call('HDEL', delivery, 'settled_at')
    redis.call('EXPIRE', delivery, ARGV[3])
    redis.call('ZADD', KEYS[3], ARGV[2], ARGV[at])
    sent = sent + 1
  end
end
if sent > 0 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])
  redis.call('EXPIRE', KEYS[4], ARGV[3])
  redis.call('ZADD', KEYS[1], 'LT', ARGV[2], ARGV[1])
end
return sent
