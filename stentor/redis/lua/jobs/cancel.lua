--!include lanes outcomes
-- Cancel a job that has no outcome yet. A device that is speaking it learns when it settles that its claim is void.
--
-- KEYS[1]  the job's hash
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the owner who asks
-- ARGV[3]  now, seconds since the epoch
-- ARGV[4]  seconds for which the canceled job is kept
-- ARGV[5]  maximum number of events that are kept
-- Answer   1 if it is canceled now, 0 if it already had an outcome, -1 if this owner has no such job
local job = KEYS[1]
local known = redis.call('HMGET', job, 'state', 'owner', 'lane', 'entry')
if known[2] ~= ARGV[2] then return -1 end
if known[1] ~= 'queued' and known[1] ~= 'running' then return 0 end

redis.call('XACK', known[3], ARGV[1], known[4])
redis.call('XDEL', known[3], known[4])
note_lane(known[3], ARGV[1])
settle_job(job, 'canceled', ARGV[3], ARGV[4], ARGV[5])
return 1
