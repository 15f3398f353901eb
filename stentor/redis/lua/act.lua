-- Act for a device, go on doing so, or leave it. One worker at a time does.
--
-- KEYS[1]  stentor:acts:<device>
-- ARGV[1]  who asks; no two are alike
-- ARGV[2]  ms for which it acts unless it asks again; 0 to leave
-- ARGV[3]  who is known to be dead, and may be replaced at once; empty if nobody is
-- Answer   who acts now; empty if nobody does
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] and who ~= ARGV[3] then return who end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return ''
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
