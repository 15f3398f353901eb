-- How many webhooks wait to be sent, and since when.
--
-- It takes no keys: a scheduler may only read them.
--
-- ARGV[1]  now, seconds since the epoch
-- ARGV[2]  stentor:endpoints:due
-- Answer   {deliveries that wait, whether they are due or not; endpoints to which something is due; when the first of it
--          was due, '' if nothing is}. Of more than 2,000 endpoints those that come first are counted
local waiting, due, first = 0, 0, ''
local endpoints = redis.call('ZRANGE', ARGV[2], 0, 1999, 'WITHSCORES')
for at = 1, #endpoints, 2 do
  waiting = waiting + redis.call('ZCARD', 'stentor:endpoint:' .. endpoints[at] .. ':due')
  if tonumber(endpoints[at + 1]) <= tonumber(ARGV[1]) then
    due = due + 1
    if first == '' then first = endpoints[at + 1] end
  end
end
return {waiting, due, first}
