--!include outcomes
-- Pause, resume, cancel or retry a bulk. The feeder does the rest.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  stentor:active_bulks
-- ARGV[1]  the owner who asks
-- ARGV[2]  pause, resume, cancel or retry
-- ARGV[3]  now, seconds since the epoch
-- ARGV[4]  seconds for which a bulk that has ended is kept
-- ARGV[5]  maximum number of events that are kept
-- Answer   'ok', 'missing' if this owner has no such bulk, or the state of a bulk that does not allow it
local bulk, wish = KEYS[1], ARGV[2]
local known = redis.call('HMGET', bulk, 'owner', 'state', 'id', 'started_at', 'failed', 'dry_run')
local state = known[2]
if known[1] ~= ARGV[1] then return 'missing' end

if wish == 'pause' and (state == 'waiting' or state == 'running') then
  redis.call('HSET', bulk, 'state', 'paused')
elseif wish == 'resume' and state == 'paused' then
  redis.call('HSET', bulk, 'state', known[4] and 'running' or 'waiting')
elseif wish == 'cancel' and (state == 'checking' or state == 'waiting' or state == 'running' or state == 'paused') then
  end_bulk(bulk, 'canceled', ARGV[3], ARGV[4], ARGV[5])
elseif wish == 'retry' and state == 'succeeded' and known[5] ~= '0' and known[6] ~= 'true' then
  redis.call('HSET', bulk, 'state', 'running', 'retry_wanted', 'true')
  redis.call('HDEL', bulk, 'settled_at', 'archive_state', 'groups_state')
  redis.call('HINCRBY', bulk, 'retries', 1)
  redis.call('PERSIST', bulk)
else
  return state
end
redis.call('SADD', KEYS[2], known[3])
return 'ok'
