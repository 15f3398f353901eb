--!include claims
-- Give claimed jobs back unspoken. Any device may claim them at once, and the claims do not count as attempts.
--
-- KEYS[1]  the lane
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the device that holds them
-- ARGV[3]  name of the consumer that holds returned jobs
-- ARGV[4..] for each job its id, its entry in the lane, and the claim: its number of attempts when it was claimed
-- Answer   number of jobs given back; this device no longer holds the others
local lane, group, device = KEYS[1], ARGV[1], ARGV[2]
local given = 0
for at = 4, #ARGV, 3 do
  local id, entry, attempts = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = keys.job(id)
  local known = redis.call('HMGET', job, 'state', 'attempts')
  local ours = known[1] == 'running' and known[2] == attempts
  if ours and #redis.call('XPENDING', lane, group, entry, entry, 1, device) > 0 then
    return_job(job, lane, group, ARGV[3], entry)
    given = given + 1
  end
end
return given
