--!include fence
-- Let rows of a bulk enter their lanes again that were added, have no outcome, and are in no lane: their chunks start again
-- at the first row, and rows that are in lanes or have an outcome are skipped then.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the bulk's hash
-- KEYS[3]  the bulk's open chunks
-- ARGV[1]  the sweeper's token
-- ARGV[2]  rows of a chunk
-- Answer   number of such rows
if is_overtaken() then return OVERTAKEN end

local per_chunk = tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[2], 'state', 'id', 'rows')
if known[1] ~= 'waiting' and known[1] ~= 'running' then return 0 end
local stem = keys.job('job_' .. string.sub(known[2], 6) .. '_')

local lost, in_lanes = 0, 0
local chunks = redis.call('HGETALL', KEYS[3])
for at = 1, #chunks, 2 do
  local chunk, added = chunks[at], tonumber(chunks[at + 1])
  local first, before = tonumber(chunk) * per_chunk, lost
  local settled = {}
  for _, row in ipairs(redis.call('HKEYS', keys.outcomes(known[2], chunk))) do settled[tonumber(row)] = true end
  for row = first + 1, math.min(first + per_chunk, tonumber(known[3])) do
    if not settled[row] then
      if redis.call('EXISTS', stem .. string.format('%d', row)) == 1 then
        in_lanes = in_lanes + 1
      elseif row - first <= added then
        lost = lost + 1
      end
    end
  end
  if lost > before then redis.call('HSET', KEYS[3], chunk, 0) end
end
-- The feeder adds no more rows than it believes to be left.
if lost > 0 then redis.call('HSET', KEYS[2], 'in_lanes', in_lanes) end
return lost
