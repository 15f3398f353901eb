--!include fence
-- Make endpoints due that have something to send and that no dispatcher looks at.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  stentor:endpoints:due
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of endpoints
-- Answer   ids of those that were made due
if is_overtaken() then return OVERTAKEN end

local made_due = {}
for at = 2, #ARGV do
  if not redis.call('ZSCORE', KEYS[2], ARGV[at]) then
    local due = redis.call('ZRANGE', keys.due(ARGV[at]), 0, 0, 'WITHSCORES')[2]
    local running = redis.call('ZRANGE', keys.running(ARGV[at]), 0, 0, 'WITHSCORES')[2]
    local first = math.min(tonumber(due or 'inf') or math.huge, tonumber(running or 'inf') or math.huge)
    if first < math.huge then
      redis.call('ZADD', KEYS[2], first == tonumber(due) and due or running, ARGV[at])
      made_due[#made_due + 1] = ARGV[at]
    end
  end
end
return made_due
