-- Sends the cookies given on the command line in turn, and prints what came of it as one line of JSON.

local requests, turn = {}, 0

function init(cookies)
   for i, cookie in ipairs(cookies) do
      wrk.headers["Cookie"] = cookie
      requests[i] = wrk.format()
   end
   if #requests == 0 then
      requests[1] = wrk.format()
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local failed = summary.errors
   print(string.format(
      '{"requests": %d, "bytes": %d, "seconds": %f, "median": %f, "p99": %f, "not_2xx": %d, "broken": %d, "timeouts": %d}',
      summary.requests, summary.bytes, summary.duration / 1e6,
      latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
      failed.status, failed.connect + failed.read + failed.write, failed.timeout
   ))
end
