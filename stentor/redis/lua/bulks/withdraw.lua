--!include lanes outcomes
-- Remove jobs of a bulk from their lanes: for a pause those that no device holds, so that they can be added again later;
-- for a cancel all of them, with the outcome canceled. A device that is speaking one learns when it settles that its claim
-- is void.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  pause or cancel
-- ARGV[3]  now, seconds since the epoch
-- ARGV[4]  seconds for which a bulk that has ended is kept
-- ARGV[5]  maximum number of events that are kept
-- ARGV[6..] ids of jobs; those that do not exist are skipped
-- Answer   number of jobs removed
local removed, lanes = 0, {}
for at = 6, #ARGV do
  local job = keys.job(ARGV[at])
  local known = redis.call('HMGET', job, 'state', 'lane', 'entry')
  if known[1] == 'queued' or (known[1] == 'running' and ARGV[2] == 'cancel') then
    redis.call('XACK', known[2], ARGV[1], known[3])
    redis.call('XDEL', known[2], known[3])
    lanes[known[2]] = true
    if ARGV[2] == 'cancel' then
      settle_job(job, 'canceled', ARGV[3], ARGV[4], ARGV[5])
    else
      redis.call('DEL', job)
      redis.call('HINCRBY', KEYS[1], 'in_lanes', -1)
    end
    removed = removed + 1
  end
end
for lane in pairs(lanes) do note_lane(lane, ARGV[1]) end
return removed
