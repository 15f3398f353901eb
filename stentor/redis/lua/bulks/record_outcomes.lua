--!include outcomes
-- Record outcomes of rows that need no job because the check found them invalid. A chunk that is not open is skipped: S3
-- has it.
--
-- KEYS[1]  the bulk's open chunks
-- ARGV[1]  the bulk's id
-- ARGV[2]  the chunk of the rows
-- ARGV[3]  now, seconds since the epoch
-- ARGV[4]  seconds for which a bulk that has ended is kept
-- ARGV[5]  maximum number of events that are kept
-- ARGV[6..] for each row its number and its outcome as JSON, with values as in a job's hash
-- Answer   1, or 0 if the chunk is not open
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
for at = 6, #ARGV, 2 do
  count_row(ARGV[1], ARGV[2], ARGV[at], cjson.decode(ARGV[at + 1]), ARGV[3], ARGV[4], ARGV[5])
end
return 1
