--!include claims
-- Give back jobs that an earlier process of a device held, except those that it was speaking when it ended: the others did
-- not end it, and their claims do not count as attempts.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the device
-- ARGV[3]  name of the consumer that holds returned jobs
-- ARGV[4]  maximum number of entries to look at
-- ARGV[5]  where to start: '-', or '(' and the last entry of the call before
-- ARGV[6..] ids of the jobs that it was speaking; they stay
-- Answer   {number of jobs given back, the last entry of this call, or '' at the end}
local lane, group, device = KEYS[1], ARGV[1], ARGV[2]
local suspects = {}
for at = 6, #ARGV do suspects[ARGV[at]] = true end

local pending = redis.call('XPENDING', lane, group, ARGV[5], '+', ARGV[4], device)
local given, last = 0, ''
for _, item in ipairs(pending) do
  local entry = item[1]
  last = entry
  local found = redis.call('XRANGE', lane, entry, entry)
  local id = found[1] and found[1][2][2]
  local job = id and keys.job(id)
  local state = job and redis.call('HGET', job, 'state')
  if state == 'running' and not suspects[id] then
    return_job(job, lane, group, ARGV[3], entry)
    given = given + 1
  end
end
return {given, last}
