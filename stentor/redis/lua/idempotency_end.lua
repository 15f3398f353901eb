-- Keep a request that came with an idempotency key for longer, let go of it, or remember its answer; only if it is
-- still held by the one who says so. A request that was let go of keeps its ULID, so that another try makes the same ids.
--
-- KEYS[1]  stentor:idempotency:<owner>:<hash>
-- ARGV[1]  who holds it
-- ARGV[2]  until when it is held on, seconds since the epoch; '' to let go
-- ARGV[3...]  name, value, ... of the answer; none for no answer
-- Answer   1 if it was held, else 0
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'until', ARGV[2])
  return 1
end
redis.call('HDEL', KEYS[1], 'holder', 'until')
if #ARGV > 2 then redis.call('HSET', KEYS[1], unpack(ARGV, 3)) end
return 1
