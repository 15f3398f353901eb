-- See to bulks of an owner: one that has not ended and that the feeder has forgotten is shown to it again, and of one
-- that has expired nothing stays.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  index of the owner's bulks
-- KEYS[3]  stentor:active_bulks
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of bulks
-- Answer   {ids of those that were shown to the feeder again, how many had expired}
local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if fence > tonumber(ARGV[1]) then return redis.error_reply('STALE a later leader has come') end

local shown, expired = {}, 0
local ended = {succeeded = true, failed = true, canceled = true}
for at = 2, #ARGV do
  local id = ARGV[at]
  local bulk = 'stentor:bulk:' .. id
  local known = redis.call('HMGET', bulk, 'owner', 'state')
  if not known[1] then
    for _, chunk in ipairs(redis.call('HKEYS', bulk .. ':open')) do redis.call('DEL', bulk .. ':outcomes:' .. chunk) end
    redis.call('DEL', bulk, bulk .. ':open', bulk .. ':redo', bulk .. ':failures')
    redis.call('ZREM', KEYS[2], id)
    expired = expired + 1
  elseif not ended[known[2]] and redis.call('SADD', KEYS[3], id) == 1 then
    shown[#shown + 1] = id
  end
end
return {shown, expired}
