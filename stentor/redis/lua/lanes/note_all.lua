--!include lanes
-- Record what waits in all lanes, where no script has done so yet, as after an update.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:backlog
-- ARGV[1]  consumer group of every lane
-- Answer   the records of all lanes
for _, lane in ipairs(redis.call('SMEMBERS', KEYS[1])) do note_lane(lane, ARGV[1]) end
-- The field without a name says that all lanes were recorded.
redis.call('HSET', KEYS[2], '', '')
return redis.call('HVALS', KEYS[2])
