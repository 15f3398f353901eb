--!include lanes outcomes
-- Add jobs to their lanes, all or none. Sending it twice adds nothing. A job that exists is skipped. So is a row of a bulk
-- that has its outcome, or whose chunk is not open: another feeder was faster, and S3 has the whole chunk. A job whose
-- audio is in the cache is settled at once and never waits.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  queue of the doorbells
-- KEYS[3]  stentor:devices
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a settled job is kept
-- ARGV[4]  maximum number of events that are kept
-- ARGV[5]  JSON list of {job: key of its hash, id, lane: key, owner, key_id, recording: id, cache: key of the cached audio,
--          chars, bulk: id, chunk, row, fields: {name, value, ...}}; '' for a missing value
-- ARGV[6]  characters that the API key may submit today; -1 for no limit
-- ARGV[7]  jobs of the API key that may wait; -1 for no limit
-- Answer   {'ok', 1 if a job waits and there are fewer doorbells than devices, else 0, ids of the jobs that are settled or
--          existed before...}, or, above a limit, {'chars', submitted today, asked for} or {'waiting', waiting, asked for}
local now, kept_s, events_kept = ARGV[2], ARGV[3], ARGV[4]
local jobs = cjson.decode(ARGV[5])

local new, chars = 0, 0
for _, job in ipairs(jobs) do
  if job.bulk == '' and redis.call('EXISTS', job.job) == 0 then
    new, chars = new + 1, chars + job.chars
  end
end
local key_id = jobs[1] and jobs[1].key_id or ''
if new > 0 and key_id ~= '' then
  local usage = keys.usage(key_id, math.floor(tonumber(now) / DAY_S))
  if ARGV[6] ~= '-1' then
    local used = tonumber(redis.call('HGET', usage, 'characters') or 0)
    if used + chars > tonumber(ARGV[6]) then return {'chars', used, chars} end
  end
  if ARGV[7] ~= '-1' then
    local waiting = tonumber(redis.call('GET', keys.waiting(key_id)) or 0)
    if waiting + new > tonumber(ARGV[7]) then return {'waiting', waiting, new} end
  end
  redis.call('HINCRBY', usage, 'characters', chars)
  redis.call('EXPIRE', usage, USAGE_KEPT_S)
  redis.call('SADD', keys.users(jobs[1].owner), key_id)
  redis.call('INCRBY', keys.waiting(key_id), new)
end

local answer, waits, lanes = {'ok', 0}, false, {}
for _, job in ipairs(jobs) do
  local exists = redis.call('EXISTS', job.job) == 1
  local of_bulk = job.bulk ~= ''
  local cached = job.cache ~= '' and redis.call('HGETALL', job.cache) or {}
  if exists then
    answer[#answer + 1] = job.id
    waits = waits or redis.call('HGET', job.job, 'state') == 'queued'
  elseif of_bulk and (redis.call('HEXISTS', keys.outcomes(job.bulk, job.chunk), job.row) == 1
      or redis.call('HEXISTS', keys.open_chunks(job.bulk), job.chunk) == 0) then
    answer[#answer + 1] = job.id
  else
    if of_bulk then redis.call('HINCRBY', keys.bulk(job.bulk), 'in_lanes', 1) end
    redis.call('HSET', job.job, unpack(job.fields))
    if #cached > 0 then
      redis.call('HSET', job.job, 'cached', 'true', unpack(cached))
      settle_job(job.job, 'succeeded', now, kept_s, events_kept)
      answer[#answer + 1] = job.id
    else
      if redis.call('SADD', KEYS[1], job.lane) == 1 then
        -- A lane can outlive its place in the set. It is no error if the group exists.
        redis.pcall('XGROUP', 'CREATE', job.lane, ARGV[1], '0', 'MKSTREAM')
      end
      waits, lanes[job.lane] = true, true
      redis.call('HSET', job.job, 'entry', redis.call('XADD', job.lane, '*', 'job', job.id))
      if not of_bulk then
        redis.call('ZADD', keys.jobs(job.owner, 'open'), 0, job.id)
        if job.recording ~= '' then redis.call('SADD', keys.recording_uses(job.recording), job.id) end
      end
    end
  end
end
for lane in pairs(lanes) do note_lane(lane, ARGV[1]) end
if waits and redis.call('LLEN', KEYS[2]) < math.max(1, redis.call('SCARD', KEYS[3])) then answer[2] = 1 end
return answer
