--!include lease
-- Acquire or renew a lease, or release it.
--
-- KEYS[1]  the lease
-- ARGV[1]  token of the caller; no two callers have the same
-- ARGV[2]  ms for which the lease lasts unless it is renewed; 0 releases it
-- ARGV[3]  token of a holder that is known to be dead and may be replaced at once, or ''
-- Answer   token of the holder now, or '' if it is free
return hold(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
