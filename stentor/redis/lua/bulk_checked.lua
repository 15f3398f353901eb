--!shared
-- Take in what came of checking a bulk's file, unless the bulk was canceled meanwhile.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  stentor:active_bulks
-- ARGV[1]  waiting, failed if the file was refused, or succeeded if it was to be checked and no more
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a bulk that has ended is kept
-- ARGV[4]  most events that are kept
-- ARGV[5..] fields and values of the bulk
-- Answer   1, or 0 if it was not being checked
local bulk = KEYS[1]
local known = redis.call('HMGET', bulk, 'state', 'id')
if known[1] ~= 'checking' then return 0 end
redis.call('HSET', bulk, unpack(ARGV, 5))
if ARGV[1] == 'waiting' then
  redis.call('HSET', bulk, 'state', 'waiting')
  redis.call('SADD', KEYS[2], known[2])
  redis.call('XADD', 'stentor:events', 'MAXLEN', '~', ARGV[4], '*', 'id', known[2], 'state', 'waiting')
else
  end_bulk(bulk, ARGV[1], ARGV[2], ARGV[3], ARGV[4])
end
return 1
