-- Write an owner's uploaded voice, if the voice stored under its name is the expected one.
--
-- KEYS[1]  stentor:recordings:<owner>
-- KEYS[2]  stentor:events
-- ARGV[1]  its name
-- ARGV[2]  its id
-- ARGV[3]  new: no other voice may have the name, except one that failed; checked: this voice must have the name
-- ARGV[4]  the voice as JSON
-- ARGV[5]  its state, for the requests that wait for it
-- ARGV[6]  maximum number of events that are kept
-- Answer   1 if it is stored now, else 0; a voice that was stored or checked before stays as it is
local there = redis.call('HGET', KEYS[1], ARGV[1])
local known = there and cjson.decode(there) or {}
if ARGV[3] == 'new' then
  if known.id == ARGV[2] then return 1 end
  if there and known.state ~= 'failed' then return 0 end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  return 1
end

if known.id ~= ARGV[2] then return 0 end
if known.state == 'checking' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'id', ARGV[2], 'state', ARGV[5])
end
return 1
