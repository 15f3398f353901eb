-- Add a charge to a device's bill: its work and its energy. Sending it twice adds it once.
--
-- KEYS[1]  time up to which the device is billed
-- KEYS[2]  ids of all devices that were ever billed
-- ARGV[1]  id of the device
-- ARGV[2]  id of the charge; the same charge is not added again
-- ARGV[3]  time up to which the charge bills the device, in the meter's terms
-- ARGV[4]  seconds for which that time is kept
-- ARGV[5]  id of the charge that this one continues; '' if the device was never billed
-- ARGV[6]  JSON list of {key of a hash, seconds to keep it, {field, amount, field, amount, ...}}
-- Answer   'added'; 'there' if it was added before; 'overtaken' if another charge that this one does not know came first
local last = redis.call('HGET', KEYS[1], 'charge')
if last == ARGV[2] then return 'there' end
-- A Redis that has lost its data has no last charge, and overtakes no other.
if last and last ~= ARGV[5] then return 'overtaken' end
for _, hash in ipairs(cjson.decode(ARGV[6])) do
  local amounts = hash[3]
  for at = 1, #amounts, 2 do redis.call('HINCRBYFLOAT', hash[1], amounts[at], amounts[at + 1]) end
  redis.call('EXPIRE', hash[1], hash[2])
end
redis.call('HSET', KEYS[1], 'charge', ARGV[2], 'mark', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
return 'added'
