-- Record the orders that the leader of the schedulers gives to devices, each once: an order that is recorded was sent.
--
-- KEYS[1]    stentor:fence
-- KEYS[2..]  stentor:ordered:<id> of each device
-- ARGV[1]    the leader's number
-- ARGV[2]    ms after which an order that was not carried out is given again
-- ARGV[3]    maximum number of orders that are given now
-- ARGV[4..]  for each device its order and the observed state that led to it: the same pair is given once
-- Answer     positions, from 0, of the orders that are to be sent; none if the caller no longer leads
local answer = {}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return answer end
for at = 2, #KEYS do
  if #answer == tonumber(ARGV[3]) then break end
  local order = ARGV[at + 2]
  if redis.call('GET', KEYS[at]) ~= order then
    redis.call('SET', KEYS[at], order, 'PX', ARGV[2])
    answer[#answer + 1] = at - 2
  end
end
return answer
