--!shared
-- Give rows of a bulk their outcomes without a job: they were found wrong before. Not of a chunk that is not open: it is
-- in S3 already.
--
-- KEYS[1]  the bulk's hash
-- ARGV[1]  the chunk that they lie in
-- ARGV[2]  now, seconds since the epoch
-- ARGV[3]  seconds for which a bulk that has ended is kept
-- ARGV[4]  most events that are kept
-- ARGV[5..] for each its row, and its outcome as JSON, whose values are as a job's hash has them
-- Answer   1, or 0 if the chunk is not open
if redis.call('HEXISTS', KEYS[1] .. ':open', ARGV[1]) == 0 then return 0 end
for at = 5, #ARGV, 2 do
  count_row(KEYS[1], ARGV[1], ARGV[at], cjson.decode(ARGV[at + 1]), ARGV[2], ARGV[3], ARGV[4])
end
return 1
