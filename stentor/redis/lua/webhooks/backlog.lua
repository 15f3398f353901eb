-- Count the webhooks that wait to be sent.
--
-- It takes no keys because a scheduler may only read them.
--
-- ARGV[1]  now, seconds since the epoch
-- ARGV[2]  stentor:endpoints:due
-- Answer   {number of waiting deliveries, due or not; number of endpoints with a due delivery; when the first of them was
--          due, or '' if none is}. Of more than 2,000 endpoints the first 2,000 are counted
local waiting, due, first = 0, 0, ''
local endpoints = redis.call('ZRANGE', ARGV[2], 0, 1999, 'WITHSCORES')
for at = 1, #endpoints, 2 do
  waiting = waiting + redis.call('ZCARD', keys.due(endpoints[at]))
  if tonumber(endpoints[at + 1]) <= tonumber(ARGV[1]) then
    due = due + 1
    if first == '' then first = endpoints[at + 1] end
  end
end
return {waiting, due, first}
