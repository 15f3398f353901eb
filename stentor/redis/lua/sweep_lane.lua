--!shared
-- Go through entries of a lane: those whose job is gone or settled, or has another entry, are taken out. What waits in
-- it is noted anew.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the lane
-- ARGV[1]  the sweeper's token
-- ARGV[2]  consumer group of every lane
-- ARGV[3]  ms since the epoch; later entries are left alone
-- ARGV[4]  from this entry on: '-', or '(' and the last one that was looked at
-- ARGV[5]  at most so many
-- Answer   {the last entry that was looked at, or '' at the end; how many were looked at; how many were taken out;
--          ids of jobs without an outcome that were handed out and that nobody holds, ...}
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local lane, group = KEYS[2], ARGV[2]
local entries = redis.call('XRANGE', lane, ARGV[4], ARGV[3], 'COUNT', ARGV[5])
local answer = {'', #entries, 0}
if #entries == 0 then
  note(lane, group)
  return answer
end
if #entries == tonumber(ARGV[5]) then answer[1] = entries[#entries][1] end

-- What lies behind the last entry that was handed out waits.
local handed_out, groups = #entries, redis.pcall('XINFO', 'GROUPS', lane)
if not groups.err and groups[1] then
  handed_out = #redis.call('XRANGE', lane, entries[1][1], groups[1][8], 'COUNT', ARGV[5])
end
local held = {}
local pending = redis.pcall('XPENDING', lane, group, entries[1][1], entries[#entries][1], ARGV[5])
for _, item in ipairs(pending.err and {} or pending) do held[item[1]] = true end

for at, item in ipairs(entries) do
  local entry, id = item[1], item[2][2]
  local known = redis.call('HMGET', 'stentor:job:' .. id, 'state', 'entry')
  local open = known[1] == 'queued' or known[1] == 'running'
  if not open or (known[2] and known[2] ~= entry) then
    redis.pcall('XACK', lane, group, entry)
    redis.call('XDEL', lane, entry)
    answer[3] = answer[3] + 1
  elseif at <= handed_out and not held[entry] then
    answer[#answer + 1] = id
  end
end
note(lane, group)
return answer
