-- What several scripts do. A script whose first line is `--!shared` has these functions before it.

-- Tell the owner's webhook endpoints, and the address that came with the job or bulk, what happened. The outbox only
-- names it: what is told is read from the hash, when it is told.
local function tell(kind, id, owner, webhook_url)
  if webhook_url or redis.call('EXISTS', 'stentor:webhooks:' .. owner) == 1 then
    redis.call('XADD', 'stentor:outbox', '*', 'type', kind, 'id', id, 'owner', owner)
  end
end

-- Note what waits in a lane, so that who looks at all lanes need not ask each: the lane, how many jobs no device was
-- ever handed, and when the oldest of them came (ms since the epoch), with a `+` behind it while devices hold some.
-- Between them are zero bytes, which no name has. What puts jobs into a lane, hands them out, or takes out what waits
-- calls this at its end; settling need not.
--
-- lane   the lane
-- group  consumer group of every lane
local function note(lane, group)
  local groups = redis.pcall('XINFO', 'GROUPS', lane)
  local delivered, held = '0', 0
  if not groups.err and groups[1] then held, delivered = groups[1][6], groups[1][8] end
  local waiting, ms = redis.call('XLEN', lane) - held, 0
  if waiting > 0 then
    local oldest = redis.call('XRANGE', lane, '(' .. delivered, '+', 'COUNT', 1)[1]
    if oldest then ms = string.match(oldest[1], '^%d+') else waiting = 0 end
  end
  if waiting > 0 or held > 0 then
    redis.call('HSET', 'stentor:backlog', lane, lane .. '\0' .. waiting .. '\0' .. ms .. (held > 0 and '+' or ''))
  else
    redis.call('HDEL', 'stentor:backlog', lane)
  end
end

-- Count how long a job or a row took from its submission to its outcome, for the metrics: by priority, in classes that
-- end at powers of 2, from 1/4 s to 18 h, and beyond. The audio of an equal job takes no time, and tells of none.
--
-- known  fields of its hash
-- now    seconds since the epoch
local function count_time(known, now)
  if known.cached == 'true' then return end
  local took_s = math.max(0, tonumber(now) - tonumber(known.created_at or now))
  local part, power = math.frexp(took_s)
  if part == 0.5 then power = power - 1 end
  power = took_s > 0 and math.min(17, math.max(-2, power)) or -2
  redis.call('HINCRBY', 'stentor:outcomes', 'took:' .. known.priority .. ':' .. power, 1)
  redis.call('HINCRBY', 'stentor:outcomes', 'took_ms:' .. known.priority, math.floor(took_s * 1000 + 0.5))
end

-- End a bulk.
--
-- bulk         key of its hash
-- state        succeeded, failed or canceled
-- now          seconds since the epoch
-- kept_s       seconds for which it is kept
-- events_kept  most events that are kept
local function end_bulk(bulk, state, now, kept_s, events_kept)
  redis.call('HSET', bulk, 'state', state, 'settled_at', now)
  redis.call('EXPIRE', bulk, kept_s)
  local known = redis.call('HMGET', bulk, 'id', 'owner', 'webhook_url', 'dry_run')
  if known[4] ~= 'true' then tell('bulk.completed', known[1], known[2], known[3]) end
  redis.call('XADD', 'stentor:events', 'MAXLEN', '~', events_kept, '*', 'id', known[1], 'state', state)
end

-- Count an outcome, for the metrics: `succeeded`, `canceled`, or `failed:<code>`. Whoever calls this sees to it that it
-- happens once.
local function count_outcome(state, code)
  redis.call('HINCRBY', 'stentor:outcomes', state == 'failed' and 'failed:' .. (code or '') or state, 1)
end

-- Count the outcome of a row of a bulk, once. The last one ends the bulk.
--
-- bulk     key of its hash
-- chunk    the chunk that the row lies in
-- row      the row
-- outcome  what is kept of it: {state, audio_s, device_s, cached, ...}, all values as a job's hash has them
local function count_row(bulk, chunk, row, outcome, now, kept_s, events_kept)
  if redis.call('HSETNX', bulk .. ':outcomes:' .. chunk, row, cjson.encode(outcome)) == 0 then return end
  count_outcome(outcome.state, outcome.error_code)
  redis.call('HINCRBY', bulk, outcome.state, 1)
  if outcome.audio_s then redis.call('HINCRBYFLOAT', bulk, 'audio_s', outcome.audio_s) end
  if outcome.device_s then redis.call('HINCRBYFLOAT', bulk, 'device_s', outcome.device_s) end
  if outcome.cached == 'true' then redis.call('HINCRBY', bulk, 'cached', 1) end
  local settled = redis.call('HINCRBY', bulk, 'settled', 1)
  local known = redis.call('HMGET', bulk, 'rows', 'state')
  if settled == tonumber(known[1]) and (known[2] == 'waiting' or known[2] == 'running' or known[2] == 'paused') then
    end_bulk(bulk, 'succeeded', now, kept_s, events_kept)
  end
end

-- What of a row's hash is no part of its outcome: the bulk's rows in S3 have it.
local asked = {
  id = 1, version = 1, owner = 1, key_id = 1, text = 1, voice = 1, model = 1, lane = 1, entry = 1, speed = 1, seed = 1, format = 1,
  sample_rate_hz = 1, priority = 1, metadata = 1, created_at = 1, fingerprint = 1, webhook_url = 1, recording = 1,
  recording_key = 1, bulk = 1, row = 1, chunk = 1,
}

-- Record the one outcome of a job that is in no lane any more, with all that follows from it: indexes, usage, the
-- counts of its bulk, webhooks and events. The fields of the outcome are in its hash by then.
--
-- job          key of its hash
-- state        succeeded, failed or canceled
-- now          seconds since the epoch
-- kept_s       seconds for which a settled job is kept; of a row of a bulk only the outcome is, with the bulk
-- events_kept  most events that are kept
local function settled(job, state, now, kept_s, events_kept)
  redis.call('HSET', job, 'state', state, 'settled_at', now)
  local fields, known = redis.call('HGETALL', job), {}
  for at = 1, #fields, 2 do known[fields[at]] = fields[at + 1] end
  local id, owner = known.id, known.owner

  if known.key_id and state == 'succeeded' then
    local usage = 'stentor:usage:' .. known.key_id .. ':' .. math.floor(tonumber(now) / 86400)
    redis.call('HINCRBY', usage, 'jobs', 1)
    redis.call('HINCRBYFLOAT', usage, 'audio_s', known.audio_s)
    if known.device_s then redis.call('HINCRBYFLOAT', usage, 'device_s', known.device_s) end
    redis.call('EXPIRE', usage, 34560000)
  end
  redis.call('XADD', 'stentor:events', 'MAXLEN', '~', events_kept, '*', 'id', id, 'state', state)
  if state ~= 'canceled' then count_time(known, now) end

  if known.bulk then
    local outcome = {}
    for name, value in pairs(known) do
      if not asked[name] then outcome[name] = value end
    end
    local bulk = 'stentor:bulk:' .. known.bulk
    redis.call('DEL', job)
    redis.call('HINCRBY', bulk, 'in_lanes', -1)
    count_row(bulk, known.chunk, known.row, outcome, now, kept_s, events_kept)
    return
  end

  count_outcome(state, known.error_code)
  if known.key_id then
    local waiting = 'stentor:waiting:' .. known.key_id
    if redis.call('DECR', waiting) <= 0 then redis.call('DEL', waiting) end
  end
  if known.recording then redis.call('SREM', 'stentor:recording:' .. known.recording .. ':uses', id) end
  local jobs = 'stentor:jobs:' .. owner .. ':'
  redis.call('EXPIRE', job, kept_s)
  redis.call('ZREM', jobs .. 'running', id)
  redis.call('ZREM', jobs .. 'open', id)
  redis.call('ZADD', jobs .. state, 0, id)
  tell('job.' .. state, id, owner, known.webhook_url)
end

-- Let any device take a claimed job at once; the claim does not count as an attempt.
--
-- job       key of its hash
-- lane      its lane
-- group     consumer group
-- returned  name of the consumer under which such jobs wait
-- entry     its entry in the lane
local function return_job(job, lane, group, returned, entry)
  local known = redis.call('HMGET', job, 'owner', 'id')
  -- An entry stays at its place in the stream and is as old as can be, so 'lost' claims take it first.
  redis.call('XCLAIM', lane, group, returned, 0, entry, 'IDLE', 2000000000, 'JUSTID')
  redis.call('HINCRBY', job, 'attempts', -1)
  redis.call('HSET', job, 'state', 'queued')
  redis.call('HDEL', job, 'started_at', 'device')
  redis.call('ZREM', 'stentor:jobs:' .. known[1] .. ':running', known[2])
end
