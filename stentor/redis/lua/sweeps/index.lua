--!include fence
-- Remove ids from an index whose records have expired.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  the index
-- ARGV[1]  the sweeper's token
-- ARGV[2]  prefix of the records' keys
-- ARGV[3..] ids
-- Answer   number of ids removed
if is_overtaken() then return OVERTAKEN end

local removed = 0
for at = 3, #ARGV do
  if redis.call('EXISTS', ARGV[2] .. ARGV[at]) == 0 then removed = removed + redis.call('ZREM', KEYS[2], ARGV[at]) end
end
return removed
