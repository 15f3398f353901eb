-- Begin a request that has an idempotency key: the first with this key, or one whose answer was never recorded, or whose
-- process died.
--
-- KEYS[1]  stentor:idempotency:<owner>:<hash>
-- ARGV[1]  digest of the request
-- ARGV[2]  ULID from which ids are derived, if this is the first
-- ARGV[3]  token of the caller
-- ARGV[4]  now, seconds since the epoch
-- ARGV[5]  seconds for which the caller holds it
-- ARGV[6]  seconds for which the key is remembered, counted from the first
-- Answer   {'begun', ULID of the first}, {'answered', ULID, status, content type, location, body}, {'running', seconds
--          for which another caller still holds it}, or {'other'} if the key was used for a different request
local known = redis.call('HMGET', KEYS[1], 'request', 'base', 'holder', 'until', 'status', 'content_type', 'location', 'body')
if known[1] and known[1] ~= ARGV[1] then return {'other'} end
if known[5] then return {'answered', known[2], known[5], known[6], known[7], known[8]} end
if known[3] and known[3] ~= ARGV[3] and tonumber(known[4]) > tonumber(ARGV[4]) then
  return {'running', tostring(tonumber(known[4]) - tonumber(ARGV[4]))}
end
redis.call('HSET', KEYS[1], 'holder', ARGV[3], 'until', ARGV[4] + ARGV[5])
if known[1] then return {'begun', known[2]} end
redis.call('HSET', KEYS[1], 'request', ARGV[1], 'base', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {'begun', ARGV[2]}
