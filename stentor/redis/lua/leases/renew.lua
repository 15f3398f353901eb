-- Renew a lease that the caller still holds.
--
-- KEYS[1]  the lease
-- ARGV[1]  token of the caller
-- ARGV[2]  ms for which the lease lasts unless it is renewed again
-- Answer   1, or 0 if the lease has expired or another holds it
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
