-- Remove a bulk from the feeder's set: it has ended, and everything of it is in S3.
--
-- KEYS[1]  the bulk's hash
-- KEYS[2]  stentor:active_bulks
-- ARGV[1]  the bulk's id
-- ARGV[2..] ids of the recordings that its rows used
-- Answer   1, or 0 if a retry was asked for meanwhile
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'succeeded' and state ~= 'canceled' and state ~= 'failed' then return 0 end
redis.call('SREM', KEYS[2], ARGV[1])
for at = 2, #ARGV do redis.call('SREM', keys.recording_uses(ARGV[at]), ARGV[1]) end
return 1
