-- The fence of sweeps. Scripts that include this have `stentor:fence` as KEYS[1] and the sweeper's token as ARGV[1].

local OVERTAKEN = redis.error_reply('STALE a later leader has come')

-- Whether a later leader than the sweeper's has come.
local function is_overtaken()
  return tonumber(redis.call('GET', KEYS[1]) or 0) > tonumber(ARGV[1])
end

