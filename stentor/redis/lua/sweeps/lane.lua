--!include fence lanes
-- Check entries of a lane. An entry is removed if its job is gone, is settled, or has another entry. The lane's waiting
-- jobs are recorded anew.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the lane
-- ARGV[1]  the sweeper's token
-- ARGV[2]  consumer group of every lane
-- ARGV[3]  ms since the epoch; later entries are skipped
-- ARGV[4]  where to start: '-', or '(' and the last entry of the call before
-- ARGV[5]  maximum number of entries
-- Answer   {the last entry of this call, or '' at the end; number of entries checked; number removed; ids of jobs without
--          an outcome that were claimed and that no device holds, ...}
if is_overtaken() then return OVERTAKEN end

local lane, group = KEYS[2], ARGV[2]
local entries = redis.call('XRANGE', lane, ARGV[4], ARGV[3], 'COUNT', ARGV[5])
local answer = {'', #entries, 0}
if #entries == 0 then
  note_lane(lane, group)
  return answer
end
if #entries == tonumber(ARGV[5]) then answer[1] = entries[#entries][1] end

-- Entries after the last one that was claimed are waiting.
local claimed, groups = #entries, redis.pcall('XINFO', 'GROUPS', lane)
if not groups.err and groups[1] then
  claimed = #redis.call('XRANGE', lane, entries[1][1], groups[1][8], 'COUNT', ARGV[5])
end
local held = {}
local pending = redis.pcall('XPENDING', lane, group, entries[1][1], entries[#entries][1], ARGV[5])
for _, item in ipairs(pending.err and {} or pending) do held[item[1]] = true end

for at, item in ipairs(entries) do
  local entry, id = item[1], item[2][2]
  local known = redis.call('HMGET', keys.job(id), 'state', 'entry')
  local open = known[1] == 'queued' or known[1] == 'running'
  if not open or (known[2] and known[2] ~= entry) then
    redis.pcall('XACK', lane, group, entry)
    redis.call('XDEL', lane, entry)
    answer[3] = answer[3] + 1
  elseif at <= claimed and not held[entry] then
    answer[#answer + 1] = id
  end
end
note_lane(lane, group)
return answer
