--!include lanes
-- Give waiting jobs of one lane to a device and mark them as running.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the device; it is the consumer's name
-- ARGV[3]  maximum number of jobs
-- ARGV[4]  now, seconds since the epoch
-- ARGV[5]  'new': jobs that no device has claimed yet
--          'own': jobs that an earlier process of this device held when it ended
--          'lost': jobs whose device has been silent, or that were given back
-- ARGV[6]  with 'lost': the ms of silence after which a job counts as lost
-- ARGV[7]  latest version of job records that the device reads
-- ARGV[8]  name of the consumer that holds jobs of later versions
-- Answer   {list of {entry, {job field, value, ...}, {field, value, ... of cached audio of an equal job, or none}},
--          ids of jobs of a later version}
--
-- A job of a later version stays queued, and no device holds it until the lease is over. Then the next device looks at it
-- again, so that a device of a newer release gets it.
local lane, group, device, count, now, mode = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local entries = {}
if mode == 'lost' then
  entries = redis.call('XAUTOCLAIM', lane, group, device, ARGV[6], '0', 'COUNT', count)[2]
else
  local from = mode == 'own' and '0' or '>'
  local answer = redis.call('XREADGROUP', 'GROUP', group, device, 'COUNT', count, 'STREAMS', lane, from)
  if answer then entries = answer[1][2] end
end

local function leave(job, id, owner, entry)
  redis.call('XCLAIM', lane, group, ARGV[8], 0, entry, 'JUSTID')
  redis.call('HSET', job, 'state', 'queued')
  redis.call('HDEL', job, 'started_at', 'device')
  redis.call('ZREM', keys.jobs(owner, 'running'), id)
end

local claimed, newer = {}, {}
for _, item in ipairs(entries) do
  local entry, values = item[1], item[2]
  local id = values and values[2]
  local job = id and keys.job(id)
  local found = job and redis.call('HMGET', job, 'owner', 'bulk', 'version')
  local owner = found and found[1]
  if owner and tonumber(found[3] or 1) > tonumber(ARGV[7]) then
    leave(job, id, owner, entry)
    newer[#newer + 1] = id
  elseif owner then
    redis.call('HINCRBY', job, 'attempts', 1)
    redis.call('HSET', job, 'state', 'running', 'started_at', now, 'device', device)
    if not found[2] then redis.call('ZADD', keys.jobs(owner, 'running'), 0, id) end
    local fingerprint = redis.call('HGET', job, 'fingerprint')
    local cached = fingerprint and redis.call('HGETALL', keys.cache(fingerprint)) or {}
    claimed[#claimed + 1] = {entry, redis.call('HGETALL', job), cached}
  else
    redis.call('XACK', lane, group, entry)
    redis.call('XDEL', lane, entry)
  end
end
if mode == 'new' then note_lane(lane, group) end
return {claimed, newer}
