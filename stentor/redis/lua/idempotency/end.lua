-- Hold a request that has an idempotency key for longer, release it, or record its answer; only if the caller still holds
-- it. A released request keeps its ULID, so that the next try makes the same ids.
--
-- KEYS[1]  stentor:idempotency:<owner>:<hash>
-- ARGV[1]  token of the caller
-- ARGV[2]  until when the caller holds it, seconds since the epoch; '' to release it
-- ARGV[3..] name, value, ... of the answer; none without an answer
-- Answer   1 if the caller held it, else 0
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'until', ARGV[2])
  return 1
end
redis.call('HDEL', KEYS[1], 'holder', 'until')
if #ARGV > 2 then redis.call('HSET', KEYS[1], unpack(ARGV, 3)) end
return 1
