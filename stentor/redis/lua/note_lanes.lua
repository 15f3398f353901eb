--!shared
-- Note what waits in all lanes, where nobody has noted anything yet, as after an update.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:backlog
-- ARGV[1]  consumer group
-- Answer   what is noted of each lane now
for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do note(lane, ARGV[1]) end
-- The field without a name says that somebody has looked.
redis.call('HSET', KEYS[2], '', '')
return redis.call('HVALS', KEYS[2])
