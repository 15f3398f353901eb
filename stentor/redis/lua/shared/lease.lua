-- Acquire or renew a lease, or release it.
--
-- key      key of the lease
-- token    who asks; no two holders have the same token
-- ms       how long the lease lasts unless it is renewed; '0' releases it
-- replace  token of a holder that is known to be dead and may be replaced at once, or ''
--
-- Returns the token of the holder after the call, or '' if the lease is free.
local function hold(key, token, ms, replace)
  local holder = redis.call('GET', key)
  if holder and holder ~= token and holder ~= replace then return holder end
  if ms == '0' then
    redis.call('DEL', key)
    return ''
  end
  redis.call('SET', key, token, 'PX', ms)
  return token
end

