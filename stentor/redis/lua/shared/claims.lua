-- Let any device claim a claimed job at once. The claim does not count as an attempt.
--
-- job       key of the job's hash
-- lane      its lane
-- group     consumer group of every lane
-- returned  name of the consumer that holds returned jobs
-- entry     its entry in the lane
local function return_job(job, lane, group, returned, entry)
  local known = redis.call('HMGET', job, 'owner', 'id')
  -- The entry keeps its place in the stream and gets the greatest idle time, so that 'lost' claims take it first.
  redis.call('XCLAIM', lane, group, returned, 0, entry, 'IDLE', 2000000000, 'JUSTID')
  redis.call('HINCRBY', job, 'attempts', -1)
  redis.call('HSET', job, 'state', 'queued')
  redis.call('HDEL', job, 'started_at', 'device')
  redis.call('ZREM', keys.jobs(known[1], 'running'), known[2])
end

