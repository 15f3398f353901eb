-- Write an owner's uploaded voice, if what is there under its name is what is expected to be.
--
-- KEYS[1]  stentor:recordings:<owner>
-- KEYS[2]  stentor:events
-- ARGV[1]  its name
-- ARGV[2]  its id
-- ARGV[3]  new: no other voice may be there, but one that has failed; known: this one must be there
-- ARGV[4]  the voice as JSON
-- ARGV[5]  its state; requests wait for one other than checking
-- ARGV[6]  most events that are kept
-- Answer   1 if it was written, 0 if not. Sending it twice writes the same
local there = redis.call('HGET', KEYS[1], ARGV[1])
local known = there and cjson.decode(there) or {}
if known.id ~= ARGV[2] and (ARGV[3] == 'known' or there and known.state ~= 'failed') then return 0 end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ARGV[5] ~= 'checking' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'id', ARGV[2], 'state', ARGV[5])
end
return 1
