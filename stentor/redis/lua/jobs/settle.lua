--!include outcomes
-- Record a job's one outcome, once. Only the claim that still holds the job can do so.
--
-- KEYS[1]  the job's hash
-- KEYS[2]  the lane
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  the device
-- ARGV[3]  entry in the lane
-- ARGV[4]  the claim: the job's number of attempts when it was claimed
-- ARGV[5]  outcome: succeeded or failed
-- ARGV[6]  now, seconds since the epoch
-- ARGV[7]  seconds for which the settled job is kept
-- ARGV[8]  maximum number of events that are kept
-- ARGV[9]  seconds for which the audio stays in the cache
-- ARGV[10] maximum number of rows of bulks whose audio is in the cache: of a million rows it keeps the latest
-- ARGV[11..] fields and values of the outcome
-- Answer   1 if the outcome was recorded, 0 if this claim no longer holds the job
local job, lane, group, device, entry = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HMGET', job, 'state', 'attempts', 'fingerprint', 'bulk')
if known[1] ~= 'running' or known[2] ~= ARGV[4] then return 0 end
if #redis.call('XPENDING', lane, group, entry, entry, 1, device) == 0 then return 0 end

redis.call('XACK', lane, group, entry)
redis.call('XDEL', lane, entry)
redis.call('HSET', job, unpack(ARGV, 11))
if ARGV[5] == 'succeeded' and known[3] then
  local cache = keys.cache(known[3])
  -- Audio that came from the cache does not extend its time there: S3 removes it when the time of the first job is over.
  if redis.call('EXISTS', cache) == 0 and redis.call('HGET', job, 'cached') ~= 'true' then
    local names = {'audio_key', 'audio_s', 'audio_bytes', 'sha256', 'quality'}
    local values = redis.call('HMGET', job, unpack(names))
    for at, name in ipairs(names) do
      if values[at] then redis.call('HSET', cache, name, values[at]) end
    end
    redis.call('EXPIRE', cache, ARGV[9])
    if known[4] and redis.call('LPUSH', keys.CACHED, known[3]) > tonumber(ARGV[10]) then
      redis.call('DEL', keys.cache(redis.call('RPOP', keys.CACHED)))
    end
  end
end
settle_job(job, ARGV[5], ARGV[6], ARGV[7], ARGV[8])
return 1
