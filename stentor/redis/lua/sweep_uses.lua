-- Take out of the uses of a recording what is over: jobs that are settled or gone, bulks that are gone.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the recording's uses
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of jobs and bulks
-- Answer   how many were taken out
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local over = 0
for at = 2, #ARGV do
  local id = ARGV[at]
  local gone
  if string.sub(id, 1, 5) == 'bulk_' then
    gone = redis.call('EXISTS', 'stentor:bulk:' .. id) == 0
  else
    local state = redis.call('HGET', 'stentor:job:' .. id, 'state')
    gone = state ~= 'queued' and state ~= 'running'
  end
  if gone then over = over + redis.call('SREM', KEYS[2], id) end
end
return over
