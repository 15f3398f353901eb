--!include fence
-- Repair an owner's bulks: a bulk that has not ended and that the feeder's set lacks is added to it, and what is left of an
-- expired bulk is deleted.
--
-- KEYS[1]  stentor:fence
-- KEYS[2]  index of the owner's bulks
-- KEYS[3]  stentor:active_bulks
-- ARGV[1]  the sweeper's token
-- ARGV[2..] ids of bulks
-- Answer   {ids of those that were added to the feeder's set, number of expired ones}
if is_overtaken() then return OVERTAKEN end

local added, expired = {}, 0
local ended = {succeeded = true, failed = true, canceled = true}
for at = 2, #ARGV do
  local id = ARGV[at]
  local bulk, open = keys.bulk(id), keys.open_chunks(id)
  local known = redis.call('HMGET', bulk, 'owner', 'state')
  if not known[1] then
    for _, chunk in ipairs(redis.call('HKEYS', open)) do redis.call('DEL', keys.outcomes(id, chunk)) end
    redis.call('DEL', bulk, open, keys.redo(id), keys.failures(id))
    redis.call('ZREM', KEYS[2], id)
    expired = expired + 1
  elseif not ended[known[2]] and redis.call('SADD', KEYS[3], id) == 1 then
    added[#added + 1] = id
  end
end
return {added, expired}
