-- Add what a device did and took to its bill, once however often it is sent.
--
-- KEYS[1]  up to where the device is billed
-- KEYS[2]  ids of all devices that ever were billed
-- ARGV[1]  id of the device
-- ARGV[2]  id of the charge; the same one is not added again
-- ARGV[3]  up to where it is billed with it, as the meter understands it
-- ARGV[4]  seconds for which that is kept
-- ARGV[5]  id of the charge that this one goes on from; empty if the device was never billed
-- ARGV[6]  a JSON list of {key of a hash, seconds to keep it, {field, amount, field, amount, ...}}
-- Answer   `added`; `there` if it was; `overtaken` if another one was added since, of which this one knows nothing
local last = redis.call('HGET', KEYS[1], 'charge')
if last == ARGV[2] then return 'there' end
-- What a Redis that has lost its data does not know any more overtakes nobody.
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
