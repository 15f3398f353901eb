-- Put jobs into their lanes, all or none. Sending it twice adds nothing: a job that exists is passed over.
--
-- KEYS[1]  stentor:lanes
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  JSON list of {job: key of its hash, id, lane: key, index: key of the owner's queued jobs, fields: {name, value, ...}}
-- Answer   how many jobs were added
local added = 0
for _, job in ipairs(cjson.decode(ARGV[2])) do
  if redis.call('EXISTS', job.job) == 0 then
    if redis.call('SADD', KEYS[1], job.lane) == 1 then
      -- A lane may outlive its place in the set; a group that is there already is no error.
      redis.pcall('XGROUP', 'CREATE', job.lane, ARGV[1], '0', 'MKSTREAM')
    end
    local entry = redis.call('XADD', job.lane, '*', 'job', job.id)
    redis.call('HSET', job.job, 'entry', entry, unpack(job.fields))
    redis.call('ZADD', job.index, 0, job.id)
    added = added + 1
  end
end
return added
