--!shared
-- Give back what an earlier process of a device held and was not just speaking when it ended: those jobs did not end it,
-- and the claim does not count as an attempt.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group
-- ARGV[2]  the device
-- ARGV[3]  consumer name under which given-back jobs wait
-- ARGV[4]  at most so many
-- ARGV[5]  from this entry on: '-', or '(' and the last one that was looked at
-- ARGV[6..] ids of the jobs that it was speaking; they stay
-- Answer   {how many were given back, the last entry that was looked at or '' when there are no more}
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
  local job = id and 'stentor:job:' .. id
  local state = job and redis.call('HGET', job, 'state')
  if state == 'running' and not suspects[id] then
    return_job(job, lane, group, ARGV[3], entry)
    given = given + 1
  end
end
return {given, last}
