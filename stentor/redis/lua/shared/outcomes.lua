-- The outcomes of jobs and rows, and all that follows from them.

-- Queue a webhook event for the owner's endpoints and for the URL that came with the job or bulk. The outbox holds only
-- its name: the webhook's content is read from the hash when it is sent.
local function queue_event(kind, id, owner, webhook_url)
  if webhook_url or redis.call('EXISTS', keys.webhooks(owner)) == 1 then
    redis.call('XADD', keys.OUTBOX, '*', 'type', kind, 'id', id, 'owner', owner)
  end
end

-- Publish a new state to the requests that wait for it.
local function publish_state(id, state, events_kept)
  redis.call('XADD', keys.EVENTS, 'MAXLEN', '~', events_kept, '*', 'id', id, 'state', state)
end

-- Count, for the metrics, the time from the submission of a job or row to its outcome: by priority, in classes that end
-- at powers of 2 from 1/4 s to 18 h, and one class for longer times. Audio from the cache takes no time and is left out.
--
-- known  fields of the job's hash
-- now    seconds since the epoch
local function count_time(known, now)
  if known.cached == 'true' then return end
  local took_s = math.max(0, tonumber(now) - tonumber(known.created_at or now))
  local part, power = math.frexp(took_s)
  if part == 0.5 then power = power - 1 end
  power = took_s > 0 and math.min(17, math.max(-2, power)) or -2
  redis.call('HINCRBY', keys.OUTCOMES, 'took:' .. known.priority .. ':' .. power, 1)
  redis.call('HINCRBY', keys.OUTCOMES, 'took_ms:' .. known.priority, math.floor(took_s * 1000 + 0.5))
end

-- Count an outcome for the metrics: `succeeded`, `canceled` or `failed:<code>`. The caller makes sure that it is counted
-- once.
local function count_outcome(state, code)
  redis.call('HINCRBY', keys.OUTCOMES, state == 'failed' and 'failed:' .. (code or '') or state, 1)
end

-- End a bulk.
--
-- bulk         key of the bulk's hash
-- state        succeeded, failed or canceled
-- now          seconds since the epoch
-- kept_s       seconds for which the bulk is kept
-- events_kept  maximum number of events that are kept
local function end_bulk(bulk, state, now, kept_s, events_kept)
  redis.call('HSET', bulk, 'state', state, 'settled_at', now)
  redis.call('EXPIRE', bulk, kept_s)
  local known = redis.call('HMGET', bulk, 'id', 'owner', 'webhook_url', 'dry_run')
  if known[4] ~= 'true' then queue_event('bulk.completed', known[1], known[2], known[3]) end
  publish_state(known[1], state, events_kept)
end

-- Count the outcome of a row of a bulk, once. The last outcome ends the bulk.
--
-- bulk_id  the bulk's id
-- chunk    the chunk of the row
-- row      the row
-- outcome  what is kept of the outcome: {state, audio_s, device_s, cached, ...}, with the values of the job's hash
local function count_row(bulk_id, chunk, row, outcome, now, kept_s, events_kept)
  local bulk = keys.bulk(bulk_id)
  if redis.call('HSETNX', keys.outcomes(bulk_id, chunk), row, cjson.encode(outcome)) == 0 then return end
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

-- The fields of a row's hash that do not belong to its outcome: the bulk's rows in S3 have them. Jobs of version 1 have
-- each speech parameter in a field of its own.
local asked = {
  id = 1, version = 1, owner = 1, key_id = 1, text = 1, speech = 1, model = 1, lane = 1, entry = 1, priority = 1,
  voice = 1, speed = 1, seed = 1, format = 1, sample_rate_hz = 1, metadata = 1, created_at = 1, fingerprint = 1,
  webhook_url = 1, recording = 1, recording_key = 1, bulk = 1, row = 1, chunk = 1,
}

-- Record the one outcome of a job that is no longer in a lane, and all that follows from it: indexes, usage, the counts
-- of its bulk, webhooks and events. The caller has written the fields of the outcome to the job's hash.
--
-- job          key of the job's hash
-- state        succeeded, failed or canceled
-- now          seconds since the epoch
-- kept_s       seconds for which a settled job is kept; of a row of a bulk only the outcome is kept, with the bulk
-- events_kept  maximum number of events that are kept
local function settle_job(job, state, now, kept_s, events_kept)
  redis.call('HSET', job, 'state', state, 'settled_at', now)
  local fields, known = redis.call('HGETALL', job), {}
  for at = 1, #fields, 2 do known[fields[at]] = fields[at + 1] end
  local id, owner = known.id, known.owner

  if known.key_id and state == 'succeeded' then
    local usage = keys.usage(known.key_id, math.floor(tonumber(now) / DAY_S))
    redis.call('HINCRBY', usage, 'jobs', 1)
    redis.call('HINCRBYFLOAT', usage, 'audio_s', known.audio_s)
    if known.device_s then redis.call('HINCRBYFLOAT', usage, 'device_s', known.device_s) end
    redis.call('EXPIRE', usage, USAGE_KEPT_S)
  end
  publish_state(id, state, events_kept)
  if state ~= 'canceled' then count_time(known, now) end

  if known.bulk then
    local outcome = {}
    for name, value in pairs(known) do
      if not asked[name] then outcome[name] = value end
    end
    redis.call('DEL', job)
    redis.call('HINCRBY', keys.bulk(known.bulk), 'in_lanes', -1)
    count_row(known.bulk, known.chunk, known.row, outcome, now, kept_s, events_kept)
    return
  end

  count_outcome(state, known.error_code)
  if known.key_id then
    local waiting = keys.waiting(known.key_id)
    if redis.call('DECR', waiting) <= 0 then redis.call('DEL', waiting) end
  end
  if known.recording then redis.call('SREM', keys.recording_uses(known.recording), id) end
  redis.call('EXPIRE', job, kept_s)
  redis.call('ZREM', keys.jobs(owner, 'running'), id)
  redis.call('ZREM', keys.jobs(owner, 'open'), id)
  redis.call('ZADD', keys.jobs(owner, state), 0, id)
  queue_event('job.' .. state, id, owner, known.webhook_url)
end

