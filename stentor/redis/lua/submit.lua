--!shared
-- Put jobs into their lanes, all or none. Sending it twice adds nothing: a job that exists is passed over, and so is a
-- row of a bulk that has its outcome, or whose chunk is not open: another feeder was quicker, and all of it is in S3. A job that equals one whose audio is known is settled at once and never waits.
--
-- KEYS[1]  stentor:lanes
-- KEYS[2]  queue of the doorbells
-- KEYS[3]  stentor:devices
-- ARGV[1]  consumer group of every lane
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a settled job is kept
-- ARGV[4]  most events that are kept
-- ARGV[5]  JSON list of {job: key of its hash, id, lane: key, owner, key_id, recording, cache: key of what is known of
--          equal jobs, chars, bulk: key of its hash, chunk, row, fields: {name, value, ...}}; '' for what it has not
-- ARGV[6]  characters that the key may submit today, -1 for any number
-- ARGV[7]  jobs of the key that may wait, -1 for any number
-- Answer   {'ok', 1 if something waits and fewer doorbells than devices do, else 0, ids of the jobs that are settled or
--          were there before...}, {'chars', submitted today, asked for} or {'waiting', wait already, asked for} if that
--          would be more than the key may
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
  local usage = 'stentor:usage:' .. key_id .. ':' .. math.floor(tonumber(now) / 86400)
  if ARGV[6] ~= '-1' then
    local used = tonumber(redis.call('HGET', usage, 'characters') or 0)
    if used + chars > tonumber(ARGV[6]) then return {'chars', used, chars} end
  end
  if ARGV[7] ~= '-1' then
    local waiting = tonumber(redis.call('GET', 'stentor:waiting:' .. key_id) or 0)
    if waiting + new > tonumber(ARGV[7]) then return {'waiting', waiting, new} end
  end
  redis.call('HINCRBY', usage, 'characters', chars)
  redis.call('EXPIRE', usage, 34560000)
  redis.call('SADD', 'stentor:usage:' .. jobs[1].owner, key_id)
  redis.call('INCRBY', 'stentor:waiting:' .. key_id, new)
end

local done, waits, lanes = {'ok', 0}, false, {}
for _, job in ipairs(jobs) do
  local exists = redis.call('EXISTS', job.job) == 1
  local of_bulk = job.bulk ~= ''
  local known = job.cache ~= '' and redis.call('HGETALL', job.cache) or {}
  if exists then
    done[#done + 1] = job.id
    waits = waits or redis.call('HGET', job.job, 'state') == 'queued'
  elseif of_bulk and (redis.call('HEXISTS', job.bulk .. ':outcomes:' .. job.chunk, job.row) == 1
      or redis.call('HEXISTS', job.bulk .. ':open', job.chunk) == 0) then
    done[#done + 1] = job.id
  else
    if of_bulk then redis.call('HINCRBY', job.bulk, 'in_lanes', 1) end
    redis.call('HSET', job.job, unpack(job.fields))
    if #known > 0 then
      redis.call('HSET', job.job, 'cached', 'true', unpack(known))
      settled(job.job, 'succeeded', now, kept_s, events_kept)
      done[#done + 1] = job.id
    else
      if redis.call('SADD', KEYS[1], job.lane) == 1 then
        -- A lane may outlive its place in the set; a group that is there already is no error.
        redis.pcall('XGROUP', 'CREATE', job.lane, ARGV[1], '0', 'MKSTREAM')
      end
      waits, lanes[job.lane] = true, true
      redis.call('HSET', job.job, 'entry', redis.call('XADD', job.lane, '*', 'job', job.id))
      if not of_bulk then
        redis.call('ZADD', 'stentor:jobs:' .. job.owner .. ':open', 0, job.id)
        if job.recording ~= '' then redis.call('SADD', 'stentor:recording:' .. job.recording .. ':uses', job.id) end
      end
    end
  end
end
for lane in pairs(lanes) do note(lane, ARGV[1]) end
if waits and redis.call('LLEN', KEYS[2]) < math.max(1, redis.call('SCARD', KEYS[3])) then done[2] = 1 end
return done
