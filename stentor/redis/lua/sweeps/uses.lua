--!include fence
-- Remove uses of a recording that are over: jobs that are settled or gone, and bulks that are gone.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the recording's uses
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of jobs and bulks
-- Answer   number of uses removed
if is_overtaken() then return OVERTAKEN end

local removed = 0
for at = 2, #ARGV do
  local id = ARGV[at]
  local gone
  if string.sub(id, 1, 5) == 'bulk_' then
    gone = redis.call('EXISTS', keys.bulk(id)) == 0
  else
    local state = redis.call('HGET', keys.job(id), 'state')
    gone = state ~= 'queued' and state ~= 'running'
  end
  if gone then removed = removed + redis.call('SREM', KEYS[2], id) end
end
return removed
