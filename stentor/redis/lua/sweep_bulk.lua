-- Let rows of a bulk enter their lanes once more that were put in, have no outcome, and are nowhere: their chunks are
-- gone over again from the beginning, and rows that are in lanes or have an outcome are passed over then.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the bulk's hash
-- ARGV[1]  the sweeper's token
-- ARGV[2]  rows of a chunk
-- Answer   how many such rows there are
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local bulk, per_chunk = KEYS[2], tonumber(ARGV[2])
local known = redis.call('HMGET', bulk, 'state', 'id', 'rows')
if known[1] ~= 'waiting' and known[1] ~= 'running' then return 0 end
local stem = 'stentor:job:job_' .. string.sub(known[2], 6) .. '_'

local lost, in_lanes = 0, 0
local chunks = redis.call('HGETALL', bulk .. ':open')
for at = 1, #chunks, 2 do
  local chunk, put_in = chunks[at], tonumber(chunks[at + 1])
  local first, before = tonumber(chunk) * per_chunk, lost
  local settled = {}
  for _, row in ipairs(redis.call('HKEYS', bulk .. ':outcomes:' .. chunk)) do settled[tonumber(row)] = true end
  for row = first + 1, math.min(first + per_chunk, tonumber(known[3])) do
    if not settled[row] then
      if redis.call('EXISTS', stem .. string.format('%d', row)) == 1 then
        in_lanes = in_lanes + 1
      elseif row - first <= put_in then
        lost = lost + 1
      end
    end
  end
  if lost > before then redis.call('HSET', bulk .. ':open', chunk, 0) end
end
-- The feeder puts in no more rows than it believes to be left.
if lost > 0 then redis.call('HSET', bulk, 'in_lanes', in_lanes) end
return lost
