-- Show endpoints to the couriers that have something to be sent and that they do not look at.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  stentor:endpoints:due
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of endpoints
-- Answer   ids of those that were shown
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local shown = {}
for at = 2, #ARGV do
  local endpoint = 'stentor:endpoint:' .. ARGV[at]
  if not redis.call('ZSCORE', KEYS[2], ARGV[at]) then
    local due = redis.call('ZRANGE', endpoint .. ':due', 0, 0, 'WITHSCORES')[2]
    local running = redis.call('ZRANGE', endpoint .. ':running', 0, 0, 'WITHSCORES')[2]
    local first = math.min(tonumber(due or 'inf') or math.huge, tonumber(running or 'inf') or math.huge)
    if first < math.huge then
      redis.call('ZADD', KEYS[2], first == tonumber(due) and due or running, ARGV[at])
      shown[#shown + 1] = ARGV[at]
    end
  end
end
return shown
