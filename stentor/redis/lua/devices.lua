-- What all devices reported last. It takes no keys, for who may only read devices may call it: Redis lets nobody call a
-- script with a key that they may not write.
--
-- ARGV[1]  stentor:devices
-- Answer   the report of each, in no order; false for one whose report is gone
local reports = {}
for at, id in ipairs(redis.call('SMEMBERS', ARGV[1])) do
  reports[at] = redis.call('HGET', 'stentor:device:' .. id, 'report')
end
return reports
