--!include fence
-- Delete the counts of waiting jobs of an owner's API keys, if no job of the owner waits: a wrong count would keep a key
-- from submitting for ever.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  index of the owner's jobs without an outcome
-- ARGV[1]  the sweeper's token
-- ARGV[2..] keys of the counts
-- Answer   number of counts deleted
if is_overtaken() then return OVERTAKEN end

if #ARGV == 1 or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('DEL', unpack(ARGV, 2))
