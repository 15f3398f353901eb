-- Put jobs into their lanes, all or none. Sending it twice adds nothing: a job that exists is passed over.
-- A job that equals one whose audio is known is settled at once and never waits.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  stentor:events
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a settled job is kept
-- ARGV[4]  most events that are kept
-- ARGV[5]  JSON list of {job: key of its hash, id, lane: key, index: key of the owner's open jobs, done: of the succeeded
--          ones, cache: key of what is known of equal jobs or '', fields: {name, value, ...}}
-- Answer   ids of the jobs that are settled
local settled = {}
for _, job in ipairs(cjson.decode(ARGV[5])) do
  local known = job.cache ~= '' and redis.call('HGETALL', job.cache) or {}
  if redis.call('EXISTS', job.job) == 1 then
    if redis.call('HGET', job.job, 'state') == 'succeeded' then settled[#settled + 1] = job.id end
  elseif #known > 0 then
    redis.call('HSET', job.job, unpack(job.fields))
    redis.call('HSET', job.job, 'state', 'succeeded', 'settled_at', ARGV[2], 'cached', 'true', unpack(known))
    redis.call('EXPIRE', job.job, ARGV[3])
    redis.call('ZADD', job.done, 0, job.id)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'job', job.id, 'state', 'succeeded')
    settled[#settled + 1] = job.id
  else
    if redis.call('SADD', KEYS[1], job.lane) == 1 then
      -- A lane may outlive its place in the set; a group that is there already is no error.
      redis.pcall('XGROUP', 'CREATE', job.lane, ARGV[1], '0', 'MKSTREAM')
    end
    local entry = redis.call('XADD', job.lane, '*', 'job', job.id)
    redis.call('HSET', job.job, 'entry', entry, unpack(job.fields))
    redis.call('ZADD', job.index, 0, job.id)
  end
end
return settled
