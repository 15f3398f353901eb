--!include fence lanes
-- Put jobs back into their lanes that no device would ever get: their entry is gone, or it was claimed and no device holds
-- it. Jobs that wait or are held are not touched, so that sending it twice changes nothing.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  stentor:lanes
-- ARGV[1]  the sweeper's token
-- ARGV[2]  consumer group of every lane
-- ARGV[3]  ms since the epoch; jobs that entered their lanes later are skipped
-- ARGV[4..] ids of jobs
-- Answer   {ids of the jobs that were put back, ids of those that do not exist}
if is_overtaken() then return OVERTAKEN end

local group, put_back, missing, delivered = ARGV[2], {}, {}, {}

-- The last entry of a lane that was claimed. A lane that is not in the set, or has no group, is repaired first.
local function last_delivered(lane)
  if not delivered[lane] then
    redis.call('SADD', KEYS[2], lane)
    local groups = redis.pcall('XINFO', 'GROUPS', lane)
    if groups.err or #groups == 0 then
      redis.call('XGROUP', 'CREATE', lane, group, '0', 'MKSTREAM')
      groups = redis.call('XINFO', 'GROUPS', lane)
    end
    delivered[lane] = groups[1][8]
  end
  return delivered[lane]
end

local function parts(entry)
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end

local function is_stray(lane, entry)
  if not entry then return true end
  local ms, number = parts(entry)
  if ms > tonumber(ARGV[3]) then return false end
  local last_ms, last_number = parts(last_delivered(lane))
  if #redis.call('XRANGE', lane, entry, entry) == 0 then return true end
  if ms > last_ms or (ms == last_ms and number > last_number) then return false end
  return #redis.call('XPENDING', lane, group, entry, entry, 1) == 0
end

for at = 4, #ARGV do
  local id = ARGV[at]
  local job = keys.job(id)
  local known = redis.call('HMGET', job, 'state', 'lane', 'entry', 'owner', 'bulk')
  local state, lane, entry = known[1], known[2], known[3]
  if not state or not known[4] then
    missing[#missing + 1] = id
  elseif (state == 'queued' or state == 'running') and is_stray(lane, entry) then
    last_delivered(lane)
    if entry then
      redis.call('XACK', lane, group, entry)
      redis.call('XDEL', lane, entry)
    end
    -- The attempts stay: the process that held the job may have died of it.
    redis.call('HSET', job, 'state', 'queued', 'entry', redis.call('XADD', lane, '*', 'job', id))
    redis.call('HDEL', job, 'started_at', 'device')
    if not known[5] then
      redis.call('ZREM', keys.jobs(known[4], 'running'), id)
      redis.call('ZADD', keys.jobs(known[4], 'open'), 0, id)
    end
    put_back[#put_back + 1] = id
  end
end
for lane in pairs(delivered) do note_lane(lane, group) end
return {put_back, missing}
