-- Record what waits in a lane, so that a reader of all lanes does not have to ask each of them: the lane, the number of
-- jobs that no device has claimed yet, and when the oldest of them came (ms since the epoch), followed by `+` while
-- devices hold jobs of the lane. Zero bytes separate the parts, because no name contains one. Every script that adds,
-- claims or removes waiting jobs calls this at its end. Settling does not have to.
--
-- lane   key of the lane
-- group  consumer group of every lane
local function note_lane(lane, group)
  local groups = redis.pcall('XINFO', 'GROUPS', lane)
  local delivered, held = '0', 0
  if not groups.err and groups[1] then held, delivered = groups[1][6], groups[1][8] end
  local waiting, ms = redis.call('XLEN', lane) - held, 0
  if waiting > 0 then
    local oldest = redis.call('XRANGE', lane, '(' .. delivered, '+', 'COUNT', 1)[1]
    if oldest then ms = string.match(oldest[1], '^%d+') else waiting = 0 end
  end
  if waiting > 0 or held > 0 then
    redis.call('HSET', keys.BACKLOG, lane, lane .. '\0' .. waiting .. '\0' .. ms .. (held > 0 and '+' or ''))
  else
    redis.call('HDEL', keys.BACKLOG, lane)
  end
end

