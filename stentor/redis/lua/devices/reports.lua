-- Read the last reports of all devices. It takes no keys because callers that may only read devices use it: Redis refuses
-- a script with a key that the caller may not write.
--
-- ARGV[1]  stentor:devices
-- Answer   the report of each device, in no order; false for a device whose report is gone
local reports = {}
for at, id in ipairs(redis.call('SMEMBERS', ARGV[1])) do
  reports[at] = redis.call('HGET', keys.device(id), 'report')
end
return reports
