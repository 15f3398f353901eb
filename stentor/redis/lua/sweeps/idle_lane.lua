--!include fence lanes
-- Remove consumers of a lane whose devices are gone, and the lane itself if it is empty and unused. The next job for the
-- lane creates it again.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the lane
-- KEYS[3]  stentor:lanes
-- KEYS[4]  stentor:devices
-- ARGV[1]  the sweeper's token
-- ARGV[2]  consumer group of every lane
-- ARGV[3]  name of the consumer that holds returned jobs
-- ARGV[4]  now, ms since the epoch
-- ARGV[5]  ms after which a lane counts as unused
-- Answer   {1 if the lane is gone, else 0; number of consumers removed}
if is_overtaken() then return OVERTAKEN end

local lane, group, unused_ms = KEYS[2], ARGV[2], tonumber(ARGV[5])
if redis.call('EXISTS', lane) == 0 then
  redis.call('SREM', KEYS[3], lane)
  note_lane(lane, group)
  return {1, 0}
end

local used, pending, removed = false, 0, 0
local consumers = redis.pcall('XINFO', 'CONSUMERS', lane, group)
for _, consumer in ipairs(consumers.err and {} or consumers) do
  local name, holds, idle_ms = consumer[2], consumer[4], consumer[6]
  pending = pending + holds
  -- A device that claimed here within that time may still ask for the jobs that it held then.
  if idle_ms < unused_ms then
    used = true
  elseif holds == 0 and name ~= ARGV[3] and redis.call('SISMEMBER', KEYS[4], name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane, group, name)
    removed = removed + 1
  end
end

if used or pending > 0 or redis.call('XLEN', lane) > 0 then return {0, removed} end
local facts = redis.call('XINFO', 'STREAM', lane)
for at = 1, #facts, 2 do
  if facts[at] == 'last-generated-id' then
    local last_ms = tonumber(string.match(facts[at + 1], '^%d+'))
    if last_ms > tonumber(ARGV[4]) - unused_ms then return {0, removed} end
  end
end
redis.call('DEL', lane)
redis.call('SREM', KEYS[3], lane)
note_lane(lane, group)
return {1, removed}
