--!include outcomes
-- Record the result of checking a bulk's file, unless the bulk was canceled meanwhile.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  stentor:active_bulks
-- ARGV[1]  waiting, failed if the file was refused, or succeeded if it was only to be checked
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a bulk that has ended is kept
-- ARGV[4]  maximum number of events that are kept
-- ARGV[5..] fields and values of the bulk
-- Answer   1, or 0 if the bulk was not in state checking
local bulk = KEYS[1]
local known = redis.call('HMGET', bulk, 'state', 'id')
if known[1] ~= 'checking' then return 0 end
redis.call('HSET', bulk, unpack(ARGV, 5))
if ARGV[1] == 'waiting' then
  redis.call('HSET', bulk, 'state', 'waiting')
  redis.call('SADD', KEYS[2], known[2])
  publish_state(known[2], 'waiting', ARGV[4])
else
  end_bulk(bulk, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
end
return 1
